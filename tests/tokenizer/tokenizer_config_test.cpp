#include "model/tokenizer/tokenizer_config.h"

#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

TEST(TokenizerConfig, AddsTokensAsTransformersDoes) {
  int checked = 0;
  for (const nlohmann::json& entry : read_json("configs.json")) {
    const ScratchDir dir;
    for (const auto& file : entry["files"].items()) {
      write_file(dir.path() / file.key(), file.value().dump());
    }
    std::filesystem::copy(fixture(entry["base"].get<std::string>()) / "tokenizer.json", dir.path());
    const auto tokenizer = Tokenizer::load(dir.path());
    for (std::size_t i = 0; i < entry["texts"].size(); ++i) {
      const auto ids = entry["ids"][i].get<std::vector<TokenId>>();
      EXPECT_EQ(tokenizer->encode(entry["texts"][i].get<std::string>(), true), ids)
          << entry["texts"][i] << entry["files"];
      EXPECT_EQ(tokenizer->decode(ids, true), entry["decoded"][i].get<std::string>())
          << entry["files"];
      ++checked;
    }
  }
  EXPECT_GT(checked, 30);
}

TEST(TokenizerConfig, TakesWhatPythonWrites) {
  const ScratchDir dir;
  write_file(dir.path() / "tokenizer_config.json",
             R"({"model_max_length": Infinity, "x": NaN, "legacy": null, "bos_token": "<s>"})");
  EXPECT_EQ(TokenizerConfig::load(dir.path()).bos_token, "<s>");
}

TEST(TokenizerConfig, MarksOnlyTheFirstStretchAsTransformersDoes) {
  struct Case {
    const char* model_type;
    const char* legacy;
    bool first_only;
  };
  const Case cases[] = {
      {"llama", "null", true},    {"llama", "false", true},   {"llama", "true", false},
      {"mistral", "null", false}, {"mistral", "false", true}, {"", "null", false},
  };
  for (const Case& row : cases) {
    const ScratchDir dir;
    write_file(dir.path() / "config.json", nlohmann::json{{"model_type", row.model_type}}.dump());
    write_file(
        dir.path() / "tokenizer_config.json",
        std::string(R"({"tokenizer_class": "LlamaTokenizer", "legacy": )") + row.legacy + "}");
    EXPECT_EQ(TokenizerConfig::load(dir.path()).marks_only_first(), row.first_only)
        << row.model_type << row.legacy;
  }
}

// Values from transformers 5.24.0.
TEST(TokenizerConfig, LegacyFalsePutsNoMarkAfterASpecialToken) {
  const ScratchDir dir;
  std::filesystem::copy(fixture("sentencepiece") / "tokenizer.model", dir.path());
  write_file(dir.path() / "tokenizer_config.json", R"({"legacy": false})");
  const auto tokenizer = Tokenizer::load(dir.path());
  using testing::ElementsAre;
  EXPECT_THAT(tokenizer->encode("Hi there", true), ElementsAre(1, 833, 888, 842, 277, 267));
  EXPECT_THAT(tokenizer->encode("<s>Hi", true), ElementsAre(1, 1, 888, 842));
  EXPECT_THAT(tokenizer->encode("Hi</s> you", true), ElementsAre(1, 833, 888, 842, 2, 611));
  EXPECT_THAT(tokenizer->encode("<s> x", true), ElementsAre(1, 1, 638));
}

TEST(TokenizerConfig, RefusesByFileAndKey) {
  struct Case {
    const char* file;
    const char* content;
    std::vector<std::string> message;
  };
  const Case cases[] = {
      {"tokenizer_config.json", "{", {"tokenizer_config.json", "line 1"}},
      {"tokenizer_config.json", "[]", {"tokenizer_config.json", "object"}},
      {"tokenizer_config.json", "", {"tokenizer_config.json", "empty"}},
      {"tokenizer_config.json", R"({"legacy": 1})", {"legacy", "true or false"}},
      {"tokenizer_config.json", R"({"added_tokens_decoder": []})", {"added_tokens_decoder"}},
      {"tokenizer_config.json",
       R"({"added_tokens_decoder": {"x": {"content": "a"}}})",
       {"added_tokens_decoder", "\"x\" is not a token id"}},
      {"tokenizer_config.json",
       R"({"added_tokens_decoder": {"2147483647": {"content": "a"}}})",
       {"2147483647", "not a token id"}},
      {"tokenizer_config.json",
       R"({"added_tokens_decoder": {"1": {"content": 7}}})",
       {"added_tokens_decoder.1", "content"}},
      {"tokenizer_config.json", R"({"extra_special_tokens": 3})", {"extra_special_tokens", "list"}},
      {"tokenizer_config.json", R"({"extra_special_tokens": [3]})", {"extra_special_tokens[0]"}},
      {"tokenizer_config.json",
       "{\"\\u001b[2J\": 1, \"\\u001b[2J\": 2}",
       {"comes twice", "\\u001b"}},
      {"added_tokens.json", R"({"a": 1.5})", {"added_tokens.json", "integer"}},
      {"added_tokens.json", R"({"a": -1})", {"added_tokens.json", "-1"}},
      {"special_tokens_map.json",
       "version https://git-lfs.github.com/spec/v1\n",
       {"special_tokens_map.json", "Git LFS"}},
  };
  for (const Case& bad : cases) {
    const ScratchDir dir;
    write_file(dir.path() / bad.file, bad.content);
    SCOPED_TRACE(bad.content);
    expect_error(ErrorCode::input, bad.message, [&] { TokenizerConfig::load(dir.path()); });
  }
}

}  // namespace
}  // namespace spd::test
