#include "model/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "tests/model/safetensors_text.h"
#include "tests/model/temp_dir.h"

namespace spd {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kIndex = "model.safetensors.index.json";

fs::path fixture(const char* name) { return fs::path(SPD_FIXTURES) / "models" / name; }

/// A file with one F32 tensor of `count` elements, all bytes `fill`.
std::string one_tensor(const std::string& name, std::size_t count, char fill) {
  const std::string header = "{\"" + name + R"(":{"dtype":"F32","shape":[)" +
                             std::to_string(count) + R"(],"data_offsets":[0,)" +
                             std::to_string(4 * count) + "]}}";
  return safetensors_text(header + std::string((8 - header.size() % 8) % 8, ' '),
                          std::string(4 * count, fill));
}

// The two fixtures hold the same weights, one in one file and one in three.
TEST(Checkpoint, ShardsHoldWhatOneFileHolds) {
  const Checkpoint single = Checkpoint::open(fixture("llama-bf16"));
  const Checkpoint sharded = Checkpoint::open(fixture("llama-sharded"));
  ASSERT_EQ(single.names(), sharded.names());
  ASSERT_EQ(single.names().size(), 21U);  // 2 blocks of 9, embedding, last norm, head
  for (const std::string& name : single.names()) {
    EXPECT_TRUE(sharded.contains(name));
    const TensorEntry& one = single.at(name);
    const TensorEntry& other = sharded.at(name, one.shape);
    EXPECT_EQ(one.dtype, DType::bf16);
    EXPECT_EQ(other.dtype, DType::bf16);
    ASSERT_EQ(one.bytes, other.bytes) << name;
    EXPECT_EQ(std::memcmp(one.data, other.data, one.bytes), 0) << name;
  }
}

TEST(Checkpoint, AskingForAnotherShapeOrNameTellsWhere) {
  const fs::path dir = fixture("llama-sharded");
  const Checkpoint checkpoint = Checkpoint::open(dir);
  EXPECT_EQ(checkpoint.at("lm_head.weight", {131, 48}).bytes, 2U * 131 * 48);
  expect_input_error(
      [&] {
        checkpoint.at("lm_head.weight", {48, 131});
      },
      {"-of-00003.safetensors", "\"lm_head.weight\"", "[131, 48]", "[48, 131]"});
  expect_input_error([&] { checkpoint.at("lm_head.weight", {}); }, {"[131, 48]", "[]"});
  expect_input_error([&] { checkpoint.at("lm_head.bias"); },
                     {dir.string(), "no tensor \"lm_head.bias\""});
  EXPECT_FALSE(checkpoint.contains("lm_head.bias"));
}

TEST(Checkpoint, ASingleFileComesBeforeAnIndex) {
  const TempDir dir;
  dir.write("s.safetensors", one_tensor("sharded", 1, 's'));
  dir.write(kIndex, R"({"weight_map":{"sharded":"s.safetensors"}})");
  EXPECT_THAT(Checkpoint::open(dir.path()).names(), ElementsAre("sharded"));
  EXPECT_THAT(Checkpoint::open(dir.path()).notes(), IsEmpty());
  dir.write("model.safetensors", one_tensor("single", 1, 'o'));
  EXPECT_THAT(Checkpoint::open(dir.path()).names(), ElementsAre("single"));
  EXPECT_THAT(Checkpoint::open(dir.path()).notes(), ElementsAre(HasSubstr("the former is used")));
  fs::remove(dir.path() / "s.safetensors");
  EXPECT_THAT(Checkpoint::open(dir.path()).names(), ElementsAre("single"));
}

TEST(Checkpoint, ShardsThatNoIndexNamesAreTakenWhereAllAreThere) {
  const TempDir dir;
  dir.write("model-00001-of-00002.safetensors", one_tensor("v", 1, 'v'));
  expect_input_error([&] { Checkpoint::open(dir.path()); }, {"(of 2) one is there"});
  dir.write("model-00002-of-00002.safetensors", one_tensor("w", 1, 'w'));
  EXPECT_THAT(Checkpoint::open(dir.path()).names(), ElementsAre("v", "w"));
  dir.write("model-00002-of-00002.safetensors", one_tensor("v", 1, 'w'));
  expect_input_error([&] { Checkpoint::open(dir.path()); },
                     {"tensor \"v\" is in model-00001-of-00002.safetensors too"});
}

TEST(Checkpoint, NamesMayLackTheBaseModel) {
  const TempDir dir;
  dir.write("model.safetensors", one_tensor("layers.0.w", 1, 'w'));
  const Checkpoint base = Checkpoint::open(dir.path());
  EXPECT_EQ(base.stored_name("model.layers.0.w"), "layers.0.w");
  EXPECT_EQ(base.stored_name("model.layers.1.w"), std::nullopt);
  EXPECT_EQ(base.at("model.layers.0.w", {1}).bytes, 4U);
  EXPECT_TRUE(base.is_usable("model.layers.0.w"));
  expect_input_error([&] { base.at("model.layers.0.w", {2}); }, {"layers.0.w\" has shape [1]"});
  dir.write("model.safetensors", one_tensor("model.model.w", 1, 'w'));
  EXPECT_EQ(Checkpoint::open(dir.path()).stored_name("model.w"), "model.model.w");
}

// transformers reads what its files hold and has no use for what an index says of the rest.
TEST(Checkpoint, AnIndexMayNameMoreOrLessThanThereIs) {
  const TempDir dir;
  dir.write("one.safetensors", one_tensor("v", 1, 'v'));
  dir.write("two.safetensors", one_tensor("w", 1, 'w'));
  dir.write(kIndex, R"({"weight_map":{"v":"one.safetensors","x":"two.safetensors"}})");
  const Checkpoint checkpoint = Checkpoint::open(dir.path());
  EXPECT_THAT(checkpoint.names(), ElementsAre("v", "w"));
  EXPECT_FALSE(checkpoint.contains("x"));
  expect_input_error([&] { checkpoint.at("x"); },
                     {"two.safetensors: no tensor \"x\"", "the index says"});
}

TEST(Checkpoint, TellsWhetherAFileWasWrittenTo) {
  const TempDir dir;
  const fs::path file = dir.write("model.safetensors", one_tensor("w", 4, 'w'));
  const Checkpoint checkpoint = Checkpoint::open(dir.path());
  EXPECT_NO_THROW(checkpoint.check_unchanged());
  std::ofstream(file, std::ios::app) << "x";
  expect_input_error([&] { checkpoint.check_unchanged(); },
                     {"model.safetensors: was written to while it was read"});
}

TEST(Checkpoint, RefusesDirectoriesWithoutWeights) {
  const TempDir dir;
  expect_input_error([&] { Checkpoint::open(dir.path() / "none"); }, {"none: no such directory"});
  expect_input_error([&] { Checkpoint::open(dir.path()); },
                     {dir.path().string(), "model.safetensors", kIndex, "remedy"});
  dir.write("model.safetensors", one_tensor("w", 4, 'w').substr(0, 30));
  expect_input_error([&] { Checkpoint::open(dir.path()); }, {"model.safetensors: truncated"});
}

TEST(Checkpoint, RefusesIndexesThatDoNotHold) {
  struct Row {
    const char* index;
    std::vector<std::string> parts;
  };
  const std::vector<Row> rows{
      {"", {kIndex, "is empty"}},
      {"{", {kIndex, "not valid JSON"}},
      {"[]", {kIndex, "must hold a JSON object"}},
      {"{}", {kIndex, "weight_map is missing"}},
      {R"({"weight_map": []})", {kIndex, "weight_map must be an object"}},
      {R"({"weight_map": {}})", {kIndex, "weight_map is empty"}},
      {R"({"weight_map": {"v": 1}})", {kIndex, "weight_map.v must be a string"}},
      {R"({"weight_map": {"v": "one.safetensors", "v": "two.safetensors"}})",
       {kIndex, "\"v\" comes twice"}},
      {R"({"weight_map": {"v": "one.safetensors", "w": "three.safetensors"}})",
       {"three.safetensors: no such file", "\"w\"", "remedy: download"}},
      {R"({"weight_map": {"v": "bad.safetensors"}})", {"bad.safetensors", "header"}},
      // outside the directory, although the files are there
      {R"({"weight_map": {"v": "../outside.safetensors"}})",
       {"weight_map.v", "beside the index", "remedy: "}},
      {R"({"weight_map": {"v": "sub/../one.safetensors"}})",
       {"weight_map.v", "beside the index", "remedy: "}},
      {R"({"weight_map": {"v": "/etc/passwd"}})", {"weight_map.v", "beside the index", "remedy: "}},
      {R"({"weight_map": {"v": ".."}})", {"weight_map.v", "beside the index", "remedy: "}},
      {R"({"weight_map": {"v": ""}})", {"weight_map.v", "beside the index", "remedy: "}},
      {R"({"weight_map": {"v": "one.safetensors\u0000"}})",
       {"weight_map.v", "beside the index", "remedy: "}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.index);
    const TempDir outer;
    outer.write("outside.safetensors", one_tensor("v", 1, 'v'));
    const fs::path dir = outer.path() / "model";
    fs::create_directories(dir / "sub");
    outer.write("model/one.safetensors", one_tensor("v", 1, 'v'));
    outer.write("model/two.safetensors", one_tensor("w", 1, 'w'));
    outer.write("model/bad.safetensors", std::string(8, '\0'));
    outer.write(std::string("model/") + kIndex, row.index);
    expect_input_error([&] { Checkpoint::open(dir); }, row.parts);
  }
}

/// Bytes of `path`'s mappings that are resident in this process.
std::size_t resident_bytes(const fs::path& path) {
  std::ifstream smaps("/proc/self/smaps");
  std::size_t total = 0;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    // A mapping's first line ends with its file; the lines of its figures are "Name:  n kB".
    if (line.find(": ") == std::string::npos) ours = line.ends_with(path.string());
    if (!ours || !line.starts_with("Rss:")) continue;
    std::size_t kib = 0;
    std::istringstream(line.substr(4)) >> kib;
    total += kib * 1024;
  }
  return total;
}

unsigned sum_of(const TensorEntry& entry) {
  return std::accumulate(entry.data, entry.data + entry.bytes, 0U, [](unsigned sum, std::byte b) {
    return sum + std::to_integer<unsigned>(b);
  });
}

TEST(Checkpoint, ReleasedPagesAreNotResidentAndStayReadable) {
  constexpr std::size_t kCount = 1 << 20;
  const TempDir dir;
  const fs::path file = dir.write("model.safetensors", one_tensor("w", kCount, 3));
  const Checkpoint checkpoint = Checkpoint::open(dir.path());
  const TensorEntry& entry = checkpoint.at("w");
  EXPECT_EQ(sum_of(entry), 3U * 4 * kCount);
  EXPECT_GE(resident_bytes(file), 4 * kCount);
  Checkpoint::release_pages(entry);
  // At most the page with the header and the last one, which other tensors may share.
  EXPECT_LE(resident_bytes(file), 2 * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  EXPECT_EQ(sum_of(entry), 3U * 4 * kCount);
}

// Nothing whole to release: tensors of less than a page, at any place.
TEST(Checkpoint, ReleasingSmallTensorsTouchesNothingElse) {
  const Checkpoint checkpoint = Checkpoint::open(fixture("llama-bf16"));
  unsigned before = 0;
  unsigned after = 0;
  for (const std::string& name : checkpoint.names()) before += sum_of(checkpoint.at(name));
  for (const std::string& name : checkpoint.names()) {
    Checkpoint::release_pages(checkpoint.at(name));
    after += sum_of(checkpoint.at(name));
  }
  EXPECT_EQ(before, after);
  Checkpoint::release_pages(TensorEntry{});
}

}  // namespace
}  // namespace spd
