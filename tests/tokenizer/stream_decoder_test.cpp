#include "kernels/device/utf8.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

/// What the stream gives for `ids`; every piece must be whole characters.
std::string streamed(const Tokenizer& tokenizer, std::span<const TokenId> ids,
                     std::span<const TokenId> context = {}) {
  StreamDecoder stream(tokenizer, context);
  std::string text;
  const auto take = [&](const std::string& piece) {
    EXPECT_EQ(replace_invalid_utf8(piece), piece) << "half a character";
    text += piece;
  };
  for (const TokenId id : ids) take(stream.push(id));
  take(stream.finish());
  return text;
}

class EveryStream : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::load(fixture(GetParam()));
};

TEST_P(EveryStream, GivesWhatDecodeGivesForAnyIds) {
  std::mt19937 random(6);
  const auto size = static_cast<std::uint32_t>(tokenizer_->vocab_size());
  for (int i = 0; i < 400; ++i) {
    // Specials, bytes, and ids that no token has among them; some sequences of bytes alone.
    const std::uint32_t below = i % 2 == 0 ? size + 3 : std::min(size, 260U);
    std::vector<TokenId> ids(random() % 300);
    for (TokenId& id : ids) id = static_cast<TokenId>(random() % below);
    ASSERT_EQ(streamed(*tokenizer_, ids), tokenizer_->decode(ids, true))
        << testing::PrintToString(ids);
  }
}

TEST_P(EveryStream, GivesWhatDecodeGivesForText) {
  std::mt19937 random(7);
  for (int i = 0; i < 100; ++i) {
    const std::string text = random_bytes(random, 60) + "我们 👩‍👩‍👧 naïve  ";
    const std::vector<TokenId> ids = tokenizer_->encode(text, true);
    EXPECT_EQ(streamed(*tokenizer_, ids), tokenizer_->decode(ids, true)) << text;
  }
}

TEST_P(EveryStream, HoldsCharactersTogetherHoweverManyIds) {
  std::string text;
  for (int i = 0; i < 12; ++i) text += "😺🦄";
  const std::vector<TokenId> ids = tokenizer_->encode(text, false);
  EXPECT_EQ(streamed(*tokenizer_, ids), tokenizer_->decode(ids, true));
}

// With time that grows with the square this would take minutes.
TEST_P(EveryStream, TakesTimeLinearInTheIds) {
  std::vector<TokenId> ids = tokenizer_->encode("😺", false);
  ids.erase(ids.begin(), ids.end() - 1);  // a byte that is no character, mostly
  ids.resize(100'000, ids.front());
  EXPECT_EQ(streamed(*tokenizer_, ids), tokenizer_->decode(ids, true));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, EveryStream,
                         testing::Values("gpt2", "digits", "llama3", "qwen2", "roberta", "opt",
                                         "opt-files", "llama2", "mistral", "metaspace",
                                         "sentencepiece"),
                         [](const testing::TestParamInfo<std::string>& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(StreamDecoder, ByteLevelGivesCharactersAsSoonAsTheyAreWhole) {
  const auto tokenizer = Tokenizer::load(fixture("gpt2"));
  const std::vector<TokenId> ids = tokenizer->encode("a😺b", false);
  StreamDecoder stream(*tokenizer);
  std::vector<std::string> pieces;
  for (const TokenId id : ids) {
    if (std::string piece = stream.push(id); !piece.empty()) pieces.push_back(std::move(piece));
  }
  EXPECT_THAT(pieces, testing::ElementsAre("a", "😺", "b"));
  EXPECT_EQ(stream.finish(), "");
}

TEST(StreamDecoder, ContextCountsAsComingBefore) {
  const auto tokenizer = Tokenizer::load(fixture("llama2"));
  const std::vector<TokenId> before = tokenizer->encode("One 🦄", false);
  const std::vector<TokenId> all = tokenizer->encode("One 🦄 harbour 🦄 bridge", false);
  ASSERT_TRUE(std::equal(before.begin(), before.end(), all.begin()));
  const auto after = std::span(all).subspan(before.size());
  EXPECT_EQ(streamed(*tokenizer, after, before), " harbour 🦄 bridge");
  EXPECT_EQ(streamed(*tokenizer, after), "harbour 🦄 bridge");
}

TEST(StreamDecoder, BeginsAgainAfterTheEnd) {
  const auto tokenizer = Tokenizer::load(fixture("llama2"));
  StreamDecoder stream(*tokenizer);
  const std::vector<TokenId> ids = tokenizer->encode("One", false);
  for (int i = 0; i < 2; ++i) {
    std::string text;
    for (const TokenId id : ids) text += stream.push(id);
    EXPECT_EQ(text + stream.finish(), "One");
  }
}

TEST(StreamDecoder, RefusesNegativeIds) {
  const auto tokenizer = Tokenizer::load(fixture("gpt2"));
  StreamDecoder stream(*tokenizer);
  expect_error(ErrorCode::input, {"-1"}, [&] { stream.push(-1); });
}

}  // namespace
}  // namespace spd::test
