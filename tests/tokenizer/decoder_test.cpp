#include "model/tokenizer/decoder.h"

#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

TEST(Decoder, DecodesAsTheReferenceLibrary) {
  const nlohmann::json cases = read_json("components.json");
  int checked = 0;
  for (const nlohmann::json& entry : cases["decoders"]) {
    const auto decoder = make_decoder(JsonComponent("spec", entry["spec"]));
    for (std::size_t i = 0; i < cases["tokens"].size(); ++i) {
      if (entry["results"][i].is_null()) continue;  // the library gives no answer
      auto tokens = cases["tokens"][i].get<std::vector<std::string>>();
      decoder->apply(tokens);
      std::string text;
      for (const std::string& token : tokens) text += token;
      EXPECT_EQ(text, entry["results"][i].get<std::string>())
          << entry["spec"] << " on " << cases["tokens"][i];
      ++checked;
    }
  }
  EXPECT_GT(checked, 150);
}

TEST(Decoder, SentencePieceStripsOneSpaceIfAsked) {
  std::vector<std::string> tokens = {"\xE2\x96\x81\xE2\x96\x81", "a", "<0xC3>", "<0xA9>"};
  std::vector<std::string> kept = tokens;
  make_sentencepiece_decoder(true)->apply(tokens);
  EXPECT_THAT(tokens, testing::ElementsAre(" aé"));
  make_sentencepiece_decoder(false)->apply(kept);
  EXPECT_THAT(kept, testing::ElementsAre("  aé"));
}

TEST(Decoder, RefusesWhatItDoesNotKnow) {
  const nlohmann::json word_piece = {{"type", "WordPiece"}};
  expect_error(ErrorCode::input, {"spec", "WordPiece", "not supported"},
               [&] { make_decoder(JsonComponent("spec", word_piece)); });
  const nlohmann::json strip = {{"type", "Strip"}, {"content", ""}, {"start", 1}, {"stop", 0}};
  expect_error(ErrorCode::input, {"content"}, [&] { make_decoder(JsonComponent("spec", strip)); });
}

}  // namespace
}  // namespace spd::test
