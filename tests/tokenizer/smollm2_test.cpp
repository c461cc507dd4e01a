// The trained model's own tokenizer, where scripts/fetch-model.py has put it.
#include "model/tokenizer/chat_template.h"
#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

class SmolLm2 : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(dir_ / "tokenizer.json")) {
      GTEST_SKIP() << dir_ << " is not there: run scripts/fetch-model.py";
    }
  }
  std::filesystem::path dir_ = std::filesystem::path(SPD_SOURCE_DIR) / "models" / "smollm2-135m";
};

TEST_F(SmolLm2, EncodesAndDecodesAsTheReferenceLibrary) {
  const auto tokenizer = Tokenizer::load(dir_);
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
  expect_as_reference(*tokenizer, "smollm2", true);
}

TEST_F(SmolLm2, HasItsChatTemplate) {
  ChatTemplate chat = ChatTemplate::load(dir_);
  Conversation conversation;
  conversation.messages = nlohmann::ordered_json::parse(R"([{"role": "user", "content": "Hi"}])");
  EXPECT_EQ(chat.render(conversation, 0),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace
}  // namespace spd::test
