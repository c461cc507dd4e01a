#include "model/tokenizer/normalizer.h"

#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

TEST(Normalizer, NormalisesAsTheReferenceLibrary) {
  const nlohmann::json cases = read_json("components.json");
  int checked = 0;
  for (const nlohmann::json& entry : cases["normalizers"]) {
    const auto normalizer = make_normalizer(JsonComponent("spec", entry["spec"]));
    for (std::size_t i = 0; i < cases["texts"].size(); ++i) {
      auto text = cases["texts"][i].get<std::string>();
      normalizer->apply(text);
      EXPECT_EQ(text, entry["results"][i].get<std::string>())
          << entry["spec"] << " on " << cases["texts"][i];
      ++checked;
    }
  }
  EXPECT_GT(checked, 200);
}

TEST(Normalizer, RefusesWhatItDoesNotKnow) {
  const nlohmann::json precompiled = {{"type", "Precompiled"}, {"precompiled_charsmap", ""}};
  expect_error(ErrorCode::input, {"spec", "Precompiled", "not supported"},
               [&] { make_normalizer(JsonComponent("spec", precompiled)); });
  const nlohmann::json inner = {{"type", "Sequence"}, {"normalizers", {{{"type", "Prepend"}}}}};
  expect_error(ErrorCode::input, {"normalizers[0]", "\"prepend\" is missing"},
               [&] { make_normalizer(JsonComponent("spec", inner)); });
}

}  // namespace
}  // namespace spd::test
