#include "model/tokenizer/chat_template.h"

#include <fmt/format.h>

#include <cctype>
#include <string_view>

#include "kernels/device/error.h"
#include "model/tokenizer/chat_messages.h"

namespace spd {
namespace {

using Json = nlohmann::ordered_json;

bool is_name_letter(char c) { return c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0; }

// Whether the template has `name` somewhere, not as a part of a longer one.
bool names(std::string_view jinja, std::string_view name) {
  for (std::size_t at = jinja.find(name); at != std::string_view::npos;
       at = jinja.find(name, at + 1)) {
    const std::size_t end = at + name.size();
    const bool begins = at == 0 || !is_name_letter(jinja[at - 1]);
    if (begins && (end == jinja.size() || !is_name_letter(jinja[end]))) return true;
  }
  return false;
}

// What has no effect is left out of the prompt without a word: it is not what was asked for.
void check_uses(const ChatTemplateSource& source, const Conversation& conversation) {
  const auto check = [&](const std::string& name, const char* what) {
    if (names(source.jinja, name)) return;
    throw Error(ErrorCode::input,
                fmt::format("{} given, but the chat template {} does not use \"{}\"", what,
                            source.origin, name),
                fmt::format("leave \"{}\" out, or check its spelling", name));
  };
  if (conversation.tools.is_array() && !conversation.tools.empty()) check("tools", "tools are");
  if (conversation.documents.is_array() && !conversation.documents.empty()) {
    check("documents", "documents are");
  }
  for (const auto& argument : conversation.arguments.items()) {
    check(argument.key(), "a template argument is");
  }
}

void check_prints_content(const ChatTemplateSource& source) {
  if (source.jinja.find("content") != std::string::npos) return;
  throw Error(ErrorCode::input,
              fmt::format("the last message is the assistant's, but the chat template {} does not "
                          "use its \"content\"",
                          source.origin),
              "end the conversation with a user's message");
}

// Whether the prompt shows a list of parts as Python writes it: the template took it for a text.
bool shows_lists(const std::string& prompt, const Json& messages) {
  static const jinja::Template print = jinja::Template::parse("{{ content }}", "content");
  for (const Json& message : messages) {
    const auto content = message.find("content");
    if (content == message.end() || !content->is_array()) continue;
    if (prompt.find(print.render({{"content", *content}})) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

ChatTemplate ChatTemplate::load(const std::filesystem::path& model_dir) {
  ChatFiles files = ChatFiles::load(model_dir);
  if (files.templates.empty()) {
    throw Error(ErrorCode::input,
                fmt::format("{}: no chat template in chat_template.jinja, tokenizer_config.json or "
                            "chat_template.json",
                            model_dir.string()),
                "use a plain prompt instead of a chat");
  }
  return ChatTemplate(std::move(files));
}

const ChatTemplateSource& ChatTemplate::choose(bool with_tools) const {
  const ChatTemplateSource* chosen = nullptr;
  std::string names;
  for (const ChatTemplateSource& source : files_.templates) {
    names += (names.empty() ? "" : ", ") + source.name;
    if (source.name == "tool_use" && with_tools) return source;
    if (source.name == "default") chosen = &source;
  }
  if (chosen != nullptr) return *chosen;
  throw Error(ErrorCode::input,
              fmt::format("{}: of the chat templates ({}) none is named \"default\"",
                          files_.templates.front().origin, names),
              "name one \"default\"");
}

std::string ChatTemplate::run(const ChatTemplateSource& source, const Conversation& conversation,
                              const Json& messages, bool add_generation_prompt, std::time_t now) {
  auto parsed = parsed_.find(source.name);
  if (parsed == parsed_.end()) {
    parsed =
        parsed_.emplace(source.name, jinja::Template::parse(source.jinja, source.origin)).first;
  }
  Json variables = files_.special_tokens;
  for (const auto& [name, value] : conversation.arguments.items()) variables[name] = value;
  variables["messages"] = messages;
  variables["tools"] = conversation.tools;
  variables["documents"] = conversation.documents;
  variables["add_generation_prompt"] = add_generation_prompt;
  jinja::RenderOptions options;
  options.now = now;
  return parsed->second.render(variables, options);
}

std::optional<std::string> ChatTemplate::render_given(const ChatTemplateSource& source,
                                                      const Conversation& conversation,
                                                      bool with_lists, std::time_t now) {
  Json messages = conversation.messages;
  std::optional<OpenEnd> end;
  if (messages.back().value("role", Json()) == "assistant") {
    end.emplace(messages);
    check_prints_content(source);
  }
  std::string prompt = run(source, conversation, messages, !end, now);
  if (with_lists && shows_lists(prompt, messages)) return std::nullopt;
  return end ? end->cut(prompt) : std::move(prompt);
}

std::string ChatTemplate::render(const Conversation& conversation, std::time_t now) {
  if (conversation.messages.empty()) {
    throw Error(ErrorCode::input, "the conversation has no messages",
                "give at least a user's message");
  }
  const ChatTemplateSource& source = choose(conversation.tools.is_array());
  check_uses(source, conversation);
  Conversation given = conversation;
  given.messages = prepared_messages(conversation.messages);
  if (has_text_parts(given.messages)) {
    try {
      if (auto prompt = render_given(source, given, true, now)) return *std::move(prompt);
    } catch (const Error&) {
      // A template made for texts alone; if it is something else, that comes again.
    }
    given.messages = with_joined_parts(std::move(given.messages));
  }
  return *render_given(source, given, false, now);
}

}  // namespace spd
