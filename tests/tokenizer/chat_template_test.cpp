#include "model/tokenizer/chat_template.h"

#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

void write_template(const std::filesystem::path& dir, const std::string& jinja) {
  const nlohmann::json config = {
      {"chat_template", jinja}, {"bos_token", "<s>"}, {"eos_token", "</s>"}};
  write_file(dir / "tokenizer_config.json", config.dump());
}

std::vector<ChatMessage> messages_of(const nlohmann::json& chat) {
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& message : chat) {
    messages.push_back({message["role"].get<std::string>(), message["content"].get<std::string>()});
  }
  return messages;
}

TEST(ChatTemplate, RendersAsJinjaDoes) {
  int checked = 0;
  for (const nlohmann::json& entry : read_json("chats.json")) {
    const ScratchDir dir;
    write_template(dir.path(), entry["template"].get<std::string>());
    const ChatTemplate chat = ChatTemplate::load(dir.path());
    EXPECT_EQ(chat.name(), entry["name"].get<std::string>()) << entry["template"];
    for (std::size_t i = 0; i < entry["chats"].size(); ++i) {
      EXPECT_EQ(chat.render(messages_of(entry["chats"][i])), entry["prompts"][i].get<std::string>())
          << entry["template"];
      ++checked;
    }
  }
  EXPECT_GT(checked, 30);
}

TEST(ChatTemplate, RefusesWhatItDoesNotKnow) {
  const ScratchDir dir;
  write_file(dir.path() / "tokenizer_config.json", "{}");
  expect_error(ErrorCode::input, {"no chat template", "plain prompt"},
               [&] { ChatTemplate::load(dir.path()); });
  write_template(dir.path(), "{{ messages[0]['content'] | upper }}");
  expect_error(ErrorCode::input, {"none of the known ones"},
               [&] { ChatTemplate::load(dir.path()); });
}

TEST(ChatTemplate, RefusesChatsThatItHasNoFormFor) {
  struct Case {
    const char* name;
    std::vector<ChatMessage> messages;
    std::vector<std::string> message;
  };
  const Case cases[] = {
      {"chatml", {{"tool", "x"}}, {"message 1", "tool"}},
      {"chatml", {{"user", "x"}, {"system", "y"}, {"user", "z"}}, {"message 2", "first"}},
      {"chatml", {{"user", "x"}, {"assistant", "y"}}, {"does not end with a user's message"}},
      {"chatml", {}, {"does not end with a user's message"}},
      {"llama2", {{"user", "x"}, {"user", "y"}}, {"message 2", "order", "in turn"}},
      {"mistral", {{"assistant", "x"}, {"user", "y"}}, {"message 1", "order"}},
  };
  for (const nlohmann::json& entry : read_json("chats.json")) {
    const ScratchDir dir;
    write_template(dir.path(), entry["template"].get<std::string>());
    const ChatTemplate chat = ChatTemplate::load(dir.path());
    for (const Case& bad : cases) {
      if (chat.name() != bad.name) continue;
      expect_error(ErrorCode::usage, bad.message, [&] { chat.render(bad.messages); });
    }
  }
}

}  // namespace
}  // namespace spd::test
