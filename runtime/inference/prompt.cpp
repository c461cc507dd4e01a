#include "runtime/inference/prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "model/json_text.h"
#include "model/nearest_name.h"

namespace spd {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kForms =
    R"(write {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]})";
constexpr std::array<std::string_view, 6> kKeys{
    "prompt", "messages", "tools", "documents", "chat_template_kwargs", "id"};
// What the template is given under these names comes from elsewhere.
constexpr std::array<std::string_view, 5> kReserved{
    "messages", "tools", "documents", "add_generation_prompt", "continue_final_message"};
// A message without content says something nevertheless if it has one of these.
constexpr std::array<std::string_view, 5> kInsteadOfContent{
    "tool_calls", "function_call", "reasoning_content", "reasoning", "thinking"};

[[noreturn]] void refuse(const std::string& where, const std::string& problem,
                         const std::string& remedy = kForms) {
  throw Error(ErrorCode::input, fmt::format("{}: {}", where, problem), remedy);
}

std::string found(const Json& value) { return shown_json(nlohmann::json(value)); }

// The field, null where it is missing: Python writes null for what is not set.
const Json& field(const Json& object, std::string_view key) {
  static const Json null;
  const auto place = object.find(std::string(key));
  return place == object.end() ? null : *place;
}

bool has_any(const Json& object, std::span<const std::string_view> keys) {
  return std::any_of(keys.begin(), keys.end(),
                     [&](std::string_view key) { return !field(object, key).is_null(); });
}

void check_part(const Json& part, const std::string& where) {
  if (part.is_string()) return;
  if (!part.is_object()) refuse(where, fmt::format("must be an object, found {}", found(part)));
  const Json& type = field(part, "type");
  if (type == "text" && field(part, "text").is_string()) return;
  if (type == "text") refuse(where, R"(has the type "text" but no "text" that is a string)");
  if (type == "thinking" && field(part, "thinking").is_string()) return;
  refuse(where,
         type.is_string() ? fmt::format("is of type {}; this program takes text only", found(type))
                          : R"(has no "type" that is a string)",
         R"(write a part as {"type": "text", "text": "..."})");
}

// What a tool answers may be any JSON; the template decides.
void check_content(const Json& message, const std::string& where) {
  const Json& content = field(message, "content");
  const Json& role = field(message, "role");
  if (content.is_string()) return;
  if (content.is_null()) {
    if (has_any(message, kInsteadOfContent)) return;
    refuse(where, R"(has no "content")");
  }
  if (role == "tool" || role == "ipython" || role == "function") return;
  if (!content.is_array()) {
    refuse(where, fmt::format(R"("content" must be a string or a list of parts, found {})",
                              found(content)));
  }
  for (std::size_t i = 0; i < content.size(); ++i) {
    check_part(content[i], fmt::format("{}, part {}", where, i + 1));
  }
}

void check_message(const Json& message, const std::string& where) {
  if (!message.is_object()) {
    refuse(where, fmt::format("must be an object, found {}", found(message)));
  }
  const Json& role = field(message, "role");
  if (role.is_null()) refuse(where, R"(has no "role")");
  if (!role.is_string()) {
    refuse(where, fmt::format(R"("role" must be a string, found {})", found(role)));
  }
  check_content(message, where);
}

Json messages_of(const Json& value, const std::string& origin) {
  if (!value.is_array()) {
    refuse(origin, fmt::format(R"("messages" must be a list, found {})", found(value)));
  }
  if (value.empty()) refuse(origin, "no messages", "give at least a user's message");
  for (std::size_t i = 0; i < value.size(); ++i) {
    check_message(value[i], fmt::format("{}: message {}", origin, i + 1));
  }
  return value;
}

Json objects_of(const Json& object, std::string_view key, const std::string& origin) {
  const Json& value = field(object, key);
  if (value.is_null()) return value;
  const auto is_object = [](const Json& item) { return item.is_object(); };
  if (!value.is_array() || !std::all_of(value.begin(), value.end(), is_object)) {
    refuse(origin, fmt::format("\"{}\" must be a list of objects, found {}", key, found(value)));
  }
  return value;
}

Json arguments_of(const Json& object, const std::string& origin) {
  const Json& value = field(object, "chat_template_kwargs");
  if (value.is_null()) return Json::object();
  if (!value.is_object()) {
    refuse(origin,
           fmt::format("\"chat_template_kwargs\" must be an object, found {}", found(value)),
           R"(write {"messages": [...], "chat_template_kwargs": {"enable_thinking": false}})");
  }
  check_template_arguments(value, origin + ": chat_template_kwargs");
  return value;
}

void check_keys(const Json& object, const std::string& origin) {
  for (const auto& item : object.items()) {
    if (std::find(kKeys.begin(), kKeys.end(), item.key()) != kKeys.end()) continue;
    refuse(origin,
           fmt::format("key \"{}\" is unknown{}", printable(item.key()),
                       did_you_mean(item.key(), kKeys)),
           fmt::format("leave it out; known are {}", fmt::join(kKeys, ", ")));
  }
}

Prompt prompt_of(const Json& object, const std::string& origin) {
  check_keys(object, origin);
  Prompt prompt;
  prompt.origin = origin;
  prompt.id = field(object, "id");
  if (!prompt.id.is_null() && !prompt.id.is_string() && !prompt.id.is_number_integer()) {
    refuse(origin,
           fmt::format(R"("id" must be a string or an integer, found {})", found(prompt.id)));
  }
  const Json& text = field(object, "prompt");
  const Json& messages = field(object, "messages");
  if (text.is_null() && messages.is_null()) {
    refuse(origin, R"(has neither "prompt" nor "messages")");
  }
  if (!text.is_null() && !messages.is_null()) {
    refuse(origin, R"(has both "prompt" and "messages")", "give one of them");
  }
  if (!text.is_null() && !text.is_string()) {
    refuse(origin, fmt::format(R"("prompt" must be a string, found {})", found(text)));
  }
  if (text.is_string()) prompt.text = text.get<std::string>();
  if (!messages.is_null()) prompt.chat.messages = messages_of(messages, origin);
  prompt.chat.tools = objects_of(object, "tools", origin);
  prompt.chat.documents = objects_of(object, "documents", origin);
  prompt.chat.arguments = arguments_of(object, origin);
  return prompt;
}

Prompt plain(const std::string& text, const std::string& origin) {
  Prompt prompt;
  prompt.text = text;
  prompt.origin = origin;
  return prompt;
}

bool is_conversation(const Json& list) {
  return std::all_of(list.begin(), list.end(),
                     [](const Json& item) { return item.is_object() && item.contains("role"); });
}

}  // namespace

void check_template_arguments(const Json& arguments, const std::string& where) {
  for (const auto& argument : arguments.items()) {
    if (std::find(kReserved.begin(), kReserved.end(), argument.key()) == kReserved.end()) continue;
    refuse(where, fmt::format("\"{}\" is not for the user to set", argument.key()),
           "give messages, tools and documents by their own names; a conversation is continued "
           "where its last message is the assistant's");
  }
}

std::vector<Prompt> prompts_of(const Json& value, const std::string& origin) {
  if (value.is_string()) return {plain(value.get<std::string>(), origin)};
  if (value.is_object()) return {prompt_of(value, origin)};
  if (!value.is_array()) refuse(origin, fmt::format("{} is not a prompt", found(value)));
  if (value.empty()) refuse(origin, "the list is empty");
  if (is_conversation(value)) {
    Prompt prompt;
    prompt.origin = origin;
    prompt.chat.messages = messages_of(value, origin);
    return {std::move(prompt)};
  }
  std::vector<Prompt> prompts;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string place = fmt::format("{} item {}", origin, i + 1);
    // A list within a list is a conversation, not more prompts.
    if (value[i].is_array() && (value[i].empty() || !is_conversation(value[i]))) {
      refuse(place, "a list that is no conversation");
    }
    std::vector<Prompt> item = prompts_of(value[i], place);
    std::move(item.begin(), item.end(), std::back_inserter(prompts));
  }
  return prompts;
}

}  // namespace spd
