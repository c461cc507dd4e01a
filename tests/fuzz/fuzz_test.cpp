// The fuzz targets without a fuzzer: on their seeds, on a few changes of them, and on the inputs
// in regressions/TARGET/, each of which broke something once.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/fuzz/mutator.h"
#include "tests/fuzz/target.h"
#include "tests/model/temp_dir.h"

namespace spd::fuzz {
namespace {

namespace fs = std::filesystem;

class FuzzTargets : public testing::TestWithParam<Target> {
 protected:
  TempDir folder_;
};

TEST_P(FuzzTargets, TakeTheirFirstSeed) {
  const Target& target = GetParam();
  const std::vector<std::string> seeds = target.seeds();
  ASSERT_FALSE(seeds.empty());
  EXPECT_NO_THROW(target.run(seeds.front(), folder_.path()));
  for (const std::string& seed : seeds) accepts(target, seed, folder_.path());
}

// SPD_FUZZ_CHANGES=100000 makes this a fuzzer for machines without libFuzzer.
std::uint32_t changes_wanted() {
  const char* text = std::getenv("SPD_FUZZ_CHANGES");
  return text ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10)) : 40;
}

TEST_P(FuzzTargets, RefuseWhatIsChanged) {
  const Target& target = GetParam();
  const std::vector<std::string> seeds = target.seeds();
  for (std::uint32_t change = 0; change < changes_wanted(); ++change) {
    std::string input = seeds[change % std::min<std::size_t>(seeds.size(), 6)];
    // Once, twice, ...: the more changes, the further from the seed.
    for (std::uint32_t again = 0; again <= change / 24 % 8; ++again) {
      const std::uint32_t seed = change * 8 + again;
      if (seed % 4 == 0 || !mutate(target, input, seed)) mutate_bytes(input, seed);
    }
    SCOPED_TRACE(testing::Message() << "change " << change);
    EXPECT_NO_THROW(accepts(target, input, folder_.path())) << input.substr(0, 2000);
    if (HasFailure()) break;
  }
}

TEST_P(FuzzTargets, HoldOnWhatBrokeThem) {
  const Target& target = GetParam();
  const fs::path regressions = fs::path(SPD_SOURCE_DIR) / "tests/fuzz/regressions" / target.name;
  if (!fs::exists(regressions)) return;
  for (const auto& file : fs::directory_iterator(regressions)) {
    SCOPED_TRACE(file.path());
    std::ifstream stream(file.path(), std::ios::binary);
    const std::string input{std::istreambuf_iterator<char>(stream), {}};
    EXPECT_NO_THROW(accepts(target, input, folder_.path()));
  }
}

INSTANTIATE_TEST_SUITE_P(All, FuzzTargets, testing::ValuesIn(targets()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(FuzzParts, AreCutAndJoined) {
  const std::vector<std::string> parts = {"a", "", "b\fc"};
  EXPECT_EQ(join_parts(parts), "a\f\fb\fc");
  EXPECT_EQ(parts_of("a\f\fb\fc", 3), parts);
  EXPECT_EQ(parts_of("a", 2), (std::vector<std::string>{"a", ""}));
}

TEST(FuzzMutator, KeepsKinds) {
  const Target target{"t", nullptr, nullptr, "word", 1};
  int changed = 0;
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::string text = R"({"a": [1, 2.5, "x"], "b": {"c": null}})";
    ASSERT_TRUE(mutate(target, text, seed));
    EXPECT_TRUE(text.front() == '{' || text.find_first_of("[\"-0123456789tfn") == 0) << text;
    if (text != R"({"a":[1,2.5,"x"],"b":{"c":null}})") ++changed;
  }
  EXPECT_GT(changed, 150);
}

}  // namespace
}  // namespace spd::fuzz
