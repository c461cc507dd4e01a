#include "runtime/evaluation/encoding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

class Encoding : public testing::Test {
 protected:
  EncodedRequest encode(const Request& request, std::int64_t max_length = 100,
                        std::optional<TokenId> prefix = 7) const {
    RequestEncoder encoder(*tokenizer_, prefix, max_length);
    return encoder.encode(TaskItem{0, {request}, 0, {1}}).front();
  }
  std::vector<TokenId> ids(const std::string& text) const {
    return tokenizer_->encode(text, false);
  }
  std::string scored_text(const EncodedRequest& request) const {
    return tokenizer_->decode(std::span(request.ids).last(request.scored), false);
  }

  std::unique_ptr<Tokenizer> tokenizer_ =
      Tokenizer::load(std::filesystem::path(SPD_FIXTURES) / "tokenizer" / "gpt2");
};

TEST_F(Encoding, SplitsBehindTheContext) {
  const EncodedRequest request = encode({"The house", " is on fire"});
  EXPECT_EQ(request.ids, ids("The house is on fire"));
  EXPECT_EQ(scored_text(request), " is on fire");
  EXPECT_EQ(request.input().size(), request.ids.size() - 1);
}

TEST_F(Encoding, SpacesBeforeTheContinuationBelongToIt) {
  EXPECT_EQ(encode({"The house ", "is on fire"}), encode({"The house", " is on fire"}));
  EXPECT_EQ(scored_text(encode({"The house \n", " burns"})), " \n burns");
  EXPECT_EQ(scored_text(encode({"The house\u00A0", " burns"})), "\u00A0 burns");
  EXPECT_EQ(scored_text(encode({"The house\u3000\x1C", " burns"})), "\u3000\x1C burns");
}

TEST_F(Encoding, AnEmptyContextBecomesThePrefix) {
  const EncodedRequest request = encode({"", "fire"});
  auto wanted = ids("fire");
  EXPECT_EQ(request.scored, static_cast<std::int64_t>(wanted.size()));
  wanted.insert(wanted.begin(), 7);
  EXPECT_EQ(request.ids, wanted);
}

TEST_F(Encoding, LongRequestsLoseTheirBeginning) {
  const auto whole = ids("one two three four five six");
  RequestEncoder encoder(*tokenizer_, 7, 4);
  const EncodedRequest request =
      encoder.encode(TaskItem{0, {{"one two three four five", " six"}}, 0, {3}}).front();
  EXPECT_EQ(encoder.truncated(), 1);
  EXPECT_EQ(request.input().size(), 4U);
  EXPECT_EQ(request.ids, std::vector<TokenId>(whole.end() - 5, whole.end()));
  EXPECT_EQ(scored_text(request), " six");
}

TEST_F(Encoding, WhatCannotBeScoredIsRefused) {
  expect_input_error([&] { encode({"one", ""}); }, {"0 tokens to score", "leave the item out"});
  expect_input_error([&] { encode({"", ""}, 100, std::nullopt); }, {"to score"});
  expect_input_error(
      [&] {
        encode({"one", " two three four five six"}, 2);
      },
      {"the model takes 2"});
}

TEST_F(Encoding, PackedItemsComeBackWhole) {
  const std::vector<EncodedItem> items = {{encode({"a", " b"}), encode({"a", " long c"})},
                                          {encode({"d e f", " g"})}};
  EXPECT_EQ(unpack(pack(items)), items);
  EXPECT_TRUE(unpack(pack({})).empty());
}

}  // namespace
}  // namespace spd
