#include "model/tokenizer/pre_tokenizer.h"

#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

std::vector<std::string> pieces_of(const nlohmann::json& spec, const std::string& text) {
  SplitText split(text, true);
  make_pre_tokenizer(JsonComponent("spec", spec))->apply(split);
  std::vector<std::string> pieces;
  for (std::size_t i = 0; i < split.size(); ++i) pieces.emplace_back(split[i]);
  return pieces;
}

TEST(PreTokenizer, SplitsAsTheReferenceLibrary) {
  const nlohmann::json cases = read_json("components.json");
  int checked = 0;
  for (const nlohmann::json& entry : cases["pre_tokenizers"]) {
    for (std::size_t i = 0; i < cases["texts"].size(); ++i) {
      const auto text = cases["texts"][i].get<std::string>();
      EXPECT_EQ(pieces_of(entry["spec"], text), entry["pieces"][i].get<std::vector<std::string>>())
          << entry["spec"] << " on \"" << text << '"';
      ++checked;
    }
  }
  EXPECT_GT(checked, 1000);
}

TEST(PreTokenizer, MetaspaceMarksOnlyTheStartOfTheText) {
  const nlohmann::json spec = {
      {"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "first"}};
  const auto metaspace = make_pre_tokenizer(JsonComponent("spec", spec));
  SplitText later("a b", false);
  metaspace->apply(later);
  ASSERT_EQ(later.size(), 2U);
  EXPECT_EQ(later[0], "a");
  EXPECT_EQ(later[1], "_b");
}

TEST(PreTokenizer, RefusesWhatItDoesNotKnow) {
  struct Case {
    nlohmann::json spec;
    std::vector<std::string> message;
  };
  const nlohmann::json deep = [] {
    nlohmann::json spec = {{"type", "Whitespace"}};
    for (int i = 0; i < 100; ++i) {
      spec = {{"type", "Sequence"}, {"pretokenizers", nlohmann::json::array({spec})}};
    }
    return spec;
  }();
  const Case cases[] = {
      {{{"type", "UnicodeScripts"}}, {"spec", "UnicodeScripts", "not supported"}},
      {{{"kind", "Digits"}}, {"spec", "not supported"}},
      {{{"type", "Split"}, {"behavior", "Isolated"}}, {"\"pattern\" is missing"}},
      {{{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}},
       {"pattern", "/(/"}},
      {{{"type", "Split"}, {"pattern", {{"Regex", "a\\Kb"}}}, {"behavior", "Isolated"}},
       {"pattern", "byte 1", "\\K"}},
      {{{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Sideways"}}, {"Sideways"}},
      {{{"type", "Metaspace"}, {"replacement", "ab"}}, {"one character"}},
      {{{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}}, {"last"}},
      {{{"type", "Digits"}, {"individual_digits", 1}}, {"individual_digits", "true or false"}},
      {{{"type", "Sequence"}, {"pretokenizers", {{{"type", "Digits"}}, {{"type", "No"}}}}},
       {"pretokenizers[1]"}},
      {deep, {"nested too deeply"}},
  };
  for (const Case& bad : cases) {
    expect_error(ErrorCode::input, bad.message,
                 [&] { make_pre_tokenizer(JsonComponent("spec", bad.spec)); });
  }
}

}  // namespace
}  // namespace spd::test
