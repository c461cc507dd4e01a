#include "model/tokenizer/chat_template.h"

#include <ctime>

#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

using Json = nlohmann::ordered_json;

Json field(const Json& object, const char* key, Json fallback = {}) {
  return object.value(key, std::move(fallback));
}

Conversation conversation_of(const Json& chat) {
  Conversation conversation;
  conversation.messages = chat["messages"];
  conversation.tools = field(chat, "tools");
  conversation.documents = field(chat, "documents");
  conversation.arguments = field(chat, "arguments", Json::object());
  return conversation;
}

// A model's folder with these files and a template of tokenizer_config.json.
class Model {
 public:
  explicit Model(const Json& files) {
    write_file(dir_.path() / "tokenizer.json", "{}");
    for (const auto& [name, content] : files.items()) {
      const std::filesystem::path file = dir_.path() / name;
      std::filesystem::create_directories(file.parent_path());
      write_file(file, content.is_string() ? content.get<std::string>() : content.dump());
    }
  }
  static Json config(const std::string& jinja) {
    return {{"tokenizer_config.json",
             {{"chat_template", jinja}, {"bos_token", "<s>"}, {"eos_token", "</s>"}}}};
  }
  ChatTemplate chat() const { return ChatTemplate::load(dir_.path()); }
  std::string render(const std::string& chat_json) const {
    return chat().render(conversation_of(Json::parse(chat_json)), 0);
  }

 private:
  ScratchDir dir_;
};

// scripts/fixtures/chats.py says what is in the file.
TEST(ChatTemplate, RendersAsTransformersDoes) {
  int rendered = 0;
  int refused = 0;
  for (const Json& entry : Json::parse(read_file(fixture("chats.json")))) {
    SCOPED_TRACE(entry["name"].get<std::string>());
    const Model model(entry["files"]);
    ChatTemplate chat = model.chat();
    for (const Json& row : entry["chats"]) {
      SCOPED_TRACE(row["messages"].dump());
      if (row["prompt"].is_null()) {
        ++refused;
        EXPECT_THROW(chat.render(conversation_of(row), 0), Error);
      } else {
        ++rendered;
        EXPECT_EQ(chat.render(conversation_of(row), 0), row["prompt"].get<std::string>());
      }
    }
  }
  EXPECT_GT(rendered, 200);
  EXPECT_GT(refused, 10);
}

constexpr const char* kHi = R"({"messages": [{"role": "user", "content": "Hi"}]})";

TEST(ChatTemplate, RefusesFilesThatAreNone) {
  struct Case {
    Json files;
    std::vector<std::string> message;
  };
  const Json named = {{"name", "default"}};
  const Case cases[] = {
      {Json::object(), {"no chat template", "plain prompt"}},
      {{{"tokenizer_config.json", "{}"}}, {"no chat template", "plain prompt"}},
      {{{"tokenizer_config.json", "[]"}}, {"tokenizer_config.json: must hold a JSON object"}},
      {{{"tokenizer_config.json", {{"chat_template", 5}}}}, {"chat_template: must be a string or"}},
      {{{"tokenizer_config.json", {{"chat_template", Json::array({named})}}}},
       {"tokenizer_config.json: chat_template[0]: \"template\" must be a string"}},
      {{{"tokenizer_config.json", {{"bos_token", 5}}}, {"chat_template.jinja", "x"}},
       {"tokenizer_config.json: bos_token must be a token"}},
      {{{"special_tokens_map.json", {{"eos_token", {{"text", "x"}}}}},
        {"chat_template.jinja", "x"}},
       {"special_tokens_map.json: eos_token: \"content\" must be a string"}},
      {{{"chat_template.jinja", "caf\xE9"}}, {"chat_template.jinja: is not UTF-8"}},
      {{{"chat_template.json", {{"chat_template", true}}}},
       {"chat_template.json: chat_template: must be"}},
  };
  for (const Case& row : cases) {
    SCOPED_TRACE(row.message.front());
    const Model model(row.files);
    expect_error(ErrorCode::input, row.message, [&] { model.chat(); });
  }
}

TEST(ChatTemplate, ReadsProcessorsFileLast) {
  const Json old = {{"chat_template.json", {{"chat_template", "old"}}}};
  EXPECT_EQ(Model(old).render(kHi), "old");
  Json both = Model::config("new");
  both.update(old);
  EXPECT_EQ(Model(both).render(kHi), "new");
}

TEST(ChatTemplate, NamesFileAndPlaceOfWhatATemplateRefuses) {
  const Json lines = {
      {"chat_template.jinja", "{{ bos_token }}\n{{ raise_exception('no ' ~ 'way') }}"}};
  expect_error(ErrorCode::input, {"chat_template.jinja", "line 2", "no way"},
               [&] { Model(lines).render(kHi); });
  expect_error(ErrorCode::input, {"tokenizer_config.json: chat_template", "line 1"},
               [&] { Model(Model::config("{% nonsense %}")).render(kHi); });
  expect_error(ErrorCode::input, {"no messages"},
               [&] { Model(lines).render(R"({"messages": []})"); });
  expect_error(ErrorCode::input, {"(rag)", "none is named \"default\""}, [&] {
    const Json rag = {{"name", "rag"}, {"template", "x"}};
    const Json list = {{"tokenizer_config.json", {{"chat_template", Json::array({rag})}}}};
    Model(list).render(kHi);
  });
}

// What a template leaves out without a word is not what was asked for.
TEST(ChatTemplate, RefusesWhatTheTemplateDoesNotUse) {
  const Model model(Model::config("{% for m in messages %}{{ m['content'] }}{% endfor %}"));
  struct Case {
    const char* more;
    const char* name;
  };
  for (const auto& [more, name] : {Case{R"("tools": [{"type": "function"}])", "\"tools\""},
                                   Case{R"("documents": [{"text": "d"}])", "\"documents\""},
                                   Case{R"("arguments": {"enable_thinking": 1})", "\"enable_th"}}) {
    const std::string chat = std::string(kHi).substr(0, std::string(kHi).size() - 1);
    expect_error(ErrorCode::input, {"does not use", name},
                 [&, text = chat + ", " + more + "}"] { model.render(text); });
  }
  EXPECT_EQ(model.render(R"({"messages": [{"role": "user", "content": "Hi"}], "tools": []})"),
            "Hi");
}

TEST(ChatTemplate, ContinuesTheAssistant) {
  const Model model(Model::config(
      "{% for m in messages %}{{ m.role ~ ': ' ~ (m.content | trim) ~ '\\n' }}{% endfor %}"
      "{% if add_generation_prompt %}assistant: {% endif %}"));
  const auto told = [&](const std::string& reply) {
    return model.render(
        R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", )" + reply +
        "}]}");
  };
  EXPECT_EQ(told(R"("content": "Sure: ")"), "user: x\nassistant: Sure:");
  EXPECT_EQ(told(R"("content": "")"), "user: x\nassistant:");
  EXPECT_EQ(told(R"("content": [{"type": "text", "text": "Sure"}])"), "user: x\nassistant: Sure");
  expect_error(ErrorCode::input, {"no text to be continued", "user's message"},
               [&] { told(R"("tool_calls": [])"); });
  expect_error(ErrorCode::input, {"does not print the assistant's last message"}, [&] {
    Model(Model::config("{{ messages[0].content }}"))
        .render(R"({"messages": [{"role": "user", "content": "x"},)"
                R"( {"role": "assistant", "content": "y"}]})");
  });
}

TEST(ChatTemplate, PrintsTheDayThatItIsGiven) {
  std::tm day{};
  day.tm_year = 2025 - 1900;
  day.tm_mon = 0;
  day.tm_mday = 31;
  day.tm_hour = 12;
  day.tm_isdst = -1;
  ChatTemplate chat = Model(Model::config("{{ strftime_now('%d %b %Y') }}")).chat();
  EXPECT_EQ(chat.render(conversation_of(Json::parse(kHi)), std::mktime(&day)), "31 Jan 2025");
}

}  // namespace
}  // namespace spd::test
