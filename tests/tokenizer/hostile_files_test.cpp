// Files that are not what their names say, or that are made to do harm.
#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

struct BadFile {
  std::string name, content;
  std::vector<std::string> message;
};

std::string with_model(const std::string& model) {
  return R"({"added_tokens": [], "model": )" + model + "}";
}

TEST(HostileFiles, AreNamedForWhatTheyAre) {
  const std::string page = "\n<!DOCTYPE html><html>404</html>";
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
  std::string tiktoken;
  for (const char* line : {"IQ== 0\n", "Ig== 1\n"}) tiktoken += line;
  const BadFile cases[] = {
      {"tokenizer.json", page, {"tokenizer.json", "web page", "remedy"}},
      {"tokenizer.json", pointer, {"tokenizer.json", "Git LFS", "git lfs pull"}},
      {"tokenizer.json", "", {"tokenizer.json", "empty"}},
      {"tokenizer.json", " \n", {"white space"}},
      {"tokenizer.json", "\x1F\x8B\x08", {"gzip"}},
      {"tokenizer.json", "PK\x03\x04", {"zip"}},
      {"tokenizer.json", std::string("{\0}", 3), {"zero byte"}},
      {"tokenizer.json",
       "{\"model\": {\n\"vocab\": {\"a\": 0",
       {"tokenizer.json: not valid JSON: line 2, column 1", "after `", "remedy"}},
      {"tokenizer.json",
       "{\"a\": 1e999}",
       {"not valid JSON: line 1, column 1", "a number too large"}},
      {"tokenizer.json", "[]", {"tokenizer.json", "object"}},
      {"tokenizer.json", "{}", {"\"model\" is missing"}},
      {"tokenizer.json",
       with_model(R"({"type": "Unigram", "vocab": [["a", 0.5]], "unk_id": 0})"),
       {"tokenizer model \"Unigram\" is not supported", "remedy"}},
      {"tokenizer.json", with_model(R"({"type": "WordPiece", "vocab": {"a": 0}})"), {"WordPiece"}},
      {"tokenizer.json", with_model(R"({"type": "WordLevel", "vocab": {"a": 0}})"), {"WordLevel"}},
      {"tokenizer.json", with_model("{\"type\": \"\\u001b[2J\", \"vocab\": {}}"), {"\\u001b[2J"}},
      {"tokenizer.model", tiktoken, {"tokenizer.model", "tiktoken", "tokenizer.json"}},
      {"tokenizer.model", pointer, {"tokenizer.model", "Git LFS"}},
      {"tokenizer.model", page, {"web page"}},
      {"tokenizer.model", "{\"config\": {}}", {"JSON, not a SentencePiece model"}},
      {"tokenizer.model", "", {"empty"}},
      {"tokenizer.model", "nonsense", {"tokenizer.model", "SentencePiece"}},
  };
  for (const BadFile& bad : cases) {
    const ScratchDir dir;
    write_file(dir.path() / bad.name, bad.content);
    SCOPED_TRACE(bad.content);
    expect_error(ErrorCode::input, bad.message, [&] { Tokenizer::load(dir.path()); });
  }
}

TEST(HostileFiles, NumbersAreWithinTheirRange) {
  const BadFile cases[] = {
      {"", R"({"vocab": {"a": 2147483647}, "merges": []})", {"2147483647", "\"a\""}},
      {"", R"({"vocab": {"a": 18446744073709551615}, "merges": []})", {"\"a\"", "not within"}},
      {"", R"({"vocab": {"a": -1}, "merges": []})", {"-1"}},
      {"", R"({"vocab": {"a": 1.0}, "merges": []})", {"integers", "\"a\""}},
      {"", R"({"vocab": {"a": 1e308}, "merges": []})", {"integers"}},
      {"", R"({"vocab": {"a": 1, "b": 1}, "merges": []})", {"same id"}},
      {"", R"({"vocab": {"a": 1, "a": 2}, "merges": []})", {"two ids"}},
      {"", R"({"vocab": {"a": {"b": 0}}, "merges": []})", {"vocab"}},
      {"", R"({"vocab": {"a": 0}, "merges": ["a b"]})", {"merge 0", "\"b\""}},
      {"", R"({"vocab": {"a": 0}, "merges": [["a"]]})", {"merges", "entry 0"}},
      {"", R"({"vocab": {"a": 0}, "merges": [["a", 1]]})", {"merges", "entry 0"}},
      {"", R"({"vocab": {"a": 0}, "merges": {"a": "b"}})", {"merges"}},
      {"", R"({"vocab": {}, "merges": []})", {"vocabulary is empty"}},
      {"", R"({"vocab": {"a": 0}, "merges": [], "unk_token": "b"})", {"unk_token", "\"b\""}},
  };
  for (const BadFile& bad : cases) {
    const ScratchDir dir;
    write_file(dir.path() / "tokenizer.json", with_model(bad.content));
    SCOPED_TRACE(bad.content);
    expect_error(ErrorCode::input, bad.message, [&] { Tokenizer::load(dir.path()); });
  }
  const ScratchDir dir;
  write_file(dir.path() / "tokenizer.json",
             R"({"added_tokens": [{"id": 4294967296, "content": "x"}],
                 "model": {"vocab": {"a": 0}, "merges": []}})");
  expect_error(ErrorCode::input, {"added_tokens[0]", "4294967296"},
               [&] { Tokenizer::load(dir.path()); });
}

TEST(HostileFiles, VocabularyFilesSayWhatIsWrong) {
  const BadFile cases[] = {
      {R"({"a": 0, "b")", "", {"vocab.json", "line 1", "remedy"}},
      {R"([])", "", {"vocab.json", "object"}},
      {R"({})", "", {"vocab.json", "empty"}},
      {R"({"a": "0"})", "", {"vocab.json", "\"a\"", "integer", "remedy"}},
      {R"({"a": 99999999999999999999})", "", {"vocab.json", "\"a\""}},
      {R"({"a": 0})", "", {"merges.txt", "empty"}},
      {R"({"a": 0})", "#version: 0.2\na\n", {"merges.txt:2", "\"a\""}},
      {R"({"a": 0})", "a b\n", {"merge 0", "\"b\"", "remedy"}},
  };
  for (const BadFile& bad : cases) {
    const ScratchDir dir;
    write_file(dir.path() / "vocab.json", bad.name);
    write_file(dir.path() / "merges.txt", bad.content);
    SCOPED_TRACE(bad.name);
    expect_error(ErrorCode::input, bad.message, [&] { Tokenizer::load(dir.path()); });
  }
}

TEST(HostileFiles, FoldersAndDevicesEndInAMessage) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    const ScratchDir dir;
    std::filesystem::create_directory(dir.path() / name);
    expect_error(ErrorCode::input, {name, "Is a directory"}, [&] { Tokenizer::load(dir.path()); });
  }
  const ScratchDir dir;
  std::filesystem::create_symlink("/dev/zero", dir.path() / "merges.txt");
  write_file(dir.path() / "vocab.json", R"({"a": 0})");
  expect_error(ErrorCode::input, {"merges.txt", "larger than"},
               [&] { Tokenizer::load(dir.path()); });
}

// Each step makes ten bytes of one.
TEST(HostileFiles, StepsThatMultiplyTextAreStopped) {
  const nlohmann::json replace = {
      {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aaaaaaaaaa"}};
  const nlohmann::json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const nlohmann::json parts[] = {
      {{"normalizer",
        {{"type", "Sequence"}, {"normalizers", std::vector<nlohmann::json>(12, replace)}}}},
      {{"pre_tokenizer",
        {{"type", "Sequence"}, {"pretokenizers", std::vector<nlohmann::json>(40, byte_level)}}}},
  };
  for (const nlohmann::json& part : parts) {
    nlohmann::json state = read_json("gpt2/tokenizer.json");
    state.update(part);
    const ScratchDir dir;
    write_file(dir.path() / "tokenizer.json", state.dump());
    const auto tokenizer = Tokenizer::load(dir.path());
    expect_error(ErrorCode::input, {"far smaller"}, [&] { tokenizer->encode("aé", false); });
  }
  nlohmann::json state = read_json("gpt2/tokenizer.json");
  state["decoder"] = {{"type", "Sequence"}, {"decoders", std::vector<nlohmann::json>(12, replace)}};
  const ScratchDir dir;
  write_file(dir.path() / "tokenizer.json", state.dump());
  const auto tokenizer = Tokenizer::load(dir.path());
  const std::vector<TokenId> ids = tokenizer->encode("a", false);
  expect_error(ErrorCode::input, {"far smaller"}, [&] { tokenizer->decode(ids, false); });
}

TEST(HostileFiles, DeepNestingIsRefused) {
  const ScratchDir dir;
  write_file(dir.path() / "tokenizer.json", "{\"x\": " + std::string(100'000, '['));
  expect_error(ErrorCode::input, {"nested too deeply"}, [&] { Tokenizer::load(dir.path()); });
}

// Whatever is changed in a file: it loads and works, or ends in an Error.
TEST(HostileFiles, RandomChangesEndInAnErrorAtMost) {
  std::mt19937 random(11);
  for (const char* name : {"gpt2", "llama2", "metaspace", "qwen2"}) {
    const std::string whole = read_file(fixture(name) / "tokenizer.json");
    for (int i = 0; i < 25; ++i) {
      std::string text = whole;
      for (std::uint32_t change = 0; change <= random() % 4; ++change) {
        // Half of them before the vocabulary, where the components are.
        const std::size_t at = random() % (random() % 2 == 0 ? text.size() : 1500);
        const char* values[] = {"null", "1e999", "-1", "[]", "{}", "\"", "\\", "\"x\"", "0.5", "]"};
        text.replace(at, random() % 3, values[random() % std::size(values)]);
      }
      const ScratchDir dir;
      write_file(dir.path() / "tokenizer.json", text);
      try {
        const auto tokenizer = Tokenizer::load(dir.path());
        tokenizer->decode(tokenizer->encode("Hello, 12 é <s>  ", true), false);
      } catch (const Error&) {
      }
    }
  }
}

}  // namespace
}  // namespace spd::test
