#include "model/tokenizer/tokenizer.h"
#include "kernels/device/utf8.h"

#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

class EveryTokenizer : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::load(fixture(GetParam()));
};

TEST_P(EveryTokenizer, EncodesAndDecodesAsTheReferenceLibrary) {
  expect_as_reference(*tokenizer_, GetParam(), true);
}

TEST_P(EveryTokenizer, AddsSpecialTokensOnlyWhenAsked) {
  const std::vector<TokenId> plain = tokenizer_->encode("One harbour", false);
  const std::vector<TokenId> with_special = tokenizer_->encode("One harbour", true);
  std::vector<TokenId> rest;
  for (const TokenId id : with_special) {
    if (!tokenizer_->is_special(id)) rest.push_back(id);
  }
  EXPECT_EQ(rest, plain);
}

TEST_P(EveryTokenizer, KnowsItsTokens) {
  const std::int64_t size = tokenizer_->vocab_size();
  ASSERT_GT(size, 500);
  int found = 0;
  for (const char* token : {"<s>", "</s>", "<|endoftext|>", "<|begin_of_text|>"}) {
    const std::optional<TokenId> id = tokenizer_->id_of(token);
    if (!id || !tokenizer_->is_special(*id)) continue;
    ++found;
    EXPECT_LT(*id, size);
    const std::vector<TokenId> ids = {*id};
    EXPECT_EQ(tokenizer_->decode(ids, false), token);
    EXPECT_EQ(tokenizer_->decode(ids, true), "");
  }
  EXPECT_GT(found, 0);
  EXPECT_EQ(tokenizer_->id_of("no such token"), std::nullopt);
  EXPECT_FALSE(tokenizer_->is_special(static_cast<TokenId>(size) - 400));
}

TEST_P(EveryTokenizer, DecodesPaddedIdsToNothingAndRefusesNegativeOnes) {
  const std::vector<TokenId> beyond = {static_cast<TokenId>(tokenizer_->vocab_size()) + 7};
  EXPECT_EQ(tokenizer_->decode(beyond, false), "");
  const std::vector<TokenId> negative = {-1};
  expect_error(ErrorCode::input, {"-1"}, [&] { tokenizer_->decode(negative, false); });
  EXPECT_EQ(tokenizer_->decode({}, false), "");
}

TEST_P(EveryTokenizer, ReadsInvalidUtf8AsReplacementCharacters) {
  const std::string_view replaced =
      "a\xEF\xBF\xBD"
      "b\xEF\xBF\xBD\xEF\xBF\xBD";
  EXPECT_EQ(tokenizer_->encode("a\xFF"
                               "b\xE6\x88\xC3",
                               false),
            tokenizer_->encode(replaced, false));
}

TEST_P(EveryTokenizer, TakesAnyBytes) {
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    const std::string bytes = random_bytes(random, 120);
    const std::vector<TokenId> ids = tokenizer_->encode(bytes, true);
    for (const TokenId id : ids) ASSERT_TRUE(id >= 0 && id < tokenizer_->vocab_size());
    const std::string text = tokenizer_->decode(ids, true);
    EXPECT_EQ(replace_invalid_utf8(text), text);
  }
}

// Tokenizers that are byte-level and normalise nothing.
class ByteLevelTokenizer : public EveryTokenizer {};

TEST_P(ByteLevelTokenizer, GivesTextBack) {
  const std::string text = read_file(fixture("mixed.txt"));
  EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(text, false), false), text);
  std::mt19937 random(8);
  for (int i = 0; i < 300; ++i) {
    const std::string bytes = random_bytes(random, 120);
    EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(bytes, false), false),
              replace_invalid_utf8(bytes));
  }
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::erase(name, '-');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, EveryTokenizer,
                         testing::Values("gpt2", "digits", "llama3", "qwen2", "roberta", "opt",
                                         "opt-files", "llama2", "mistral", "metaspace",
                                         "sentencepiece"),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Fixtures, ByteLevelTokenizer,
                         testing::Values("gpt2", "digits", "llama3", "opt", "opt-files"),
                         test_name);

TEST(Tokenizer, TwoFilesOfOneVocabularyAgree) {
  const auto json = Tokenizer::load(fixture("llama2"));
  const auto model = Tokenizer::load(fixture("sentencepiece"));
  const std::string text = read_file(fixture("mixed.txt"));
  EXPECT_EQ(json->encode(text, true), model->encode(text, true));
}

TEST(Tokenizer, LoadNamesWhatIsMissing) {
  const ScratchDir dir;
  expect_error(ErrorCode::input, {dir.path().string(), "tokenizer.json", "tokenizer.model"},
               [&] { Tokenizer::load(dir.path()); });
  expect_error(ErrorCode::input, {"/no/such/model"}, [] { Tokenizer::load("/no/such/model"); });
}

TEST(Tokenizer, LoadPrefersTokenizerJson) {
  const ScratchDir dir;
  write_file(dir.path() / "tokenizer.json", read_file(fixture("gpt2") / "tokenizer.json"));
  write_file(dir.path() / "tokenizer.model", "nonsense");
  EXPECT_EQ(Tokenizer::load(dir.path())->vocab_size(), 700);
}

}  // namespace
}  // namespace spd::test
