#include "model/tokenizer/chat_messages.h"

#include <array>
#include <string_view>

#include "kernels/device/error.h"
#include "model/tokenizer/python_text.h"

namespace spd {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kReasoning{"reasoning_content", "thinking", "reasoning"};
// Ends in a space: whether that is still there tells whether the template trims contents.
constexpr std::string_view kMark = "CONTINUE_FINAL_MESSAGE_TAG ";
constexpr std::string_view kBareMark = kMark.substr(0, kMark.size() - 1);

bool is_text_part(const Json& part) {
  if (part.is_string()) return true;
  return part.is_object() && part.value("type", Json()) == "text" && part.contains("text") &&
         part["text"].is_string();
}

bool is_list_of_text(const Json& message) {
  const auto content = message.find("content");
  if (content == message.end() || !content->is_array() || content->empty()) return false;
  for (const Json& part : *content) {
    if (!is_text_part(part)) return false;
  }
  return true;
}

std::string joined(const Json& parts) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += '\n';
    text += (parts[i].is_string() ? parts[i] : parts[i]["text"]).get_ref<const std::string&>();
  }
  return text;
}

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::input, problem,
              "end the conversation with a user's message, or with an assistant's whose text is to "
              "be continued");
}

// The text that the mark goes behind.
std::string& last_text(Json& message) {
  const auto content = message.find("content");
  if (content != message.end() && content->is_string()) return content->get_ref<std::string&>();
  if (content != message.end() && content->is_array()) {
    for (auto part = content->rbegin(); part != content->rend(); ++part) {
      if (part->is_string()) return part->get_ref<std::string&>();
      if (part->is_object() && part->contains("text") && (*part)["text"].is_string()) {
        return (*part)["text"].get_ref<std::string&>();
      }
    }
  }
  refuse("the last message is the assistant's and has no text to be continued");
}

}  // namespace

Json prepared_messages(const Json& messages) {
  Json prepared = Json::array();
  for (const Json& message : messages) {
    Json copy = Json::object();
    const Json* thought = nullptr;
    for (const char* name : kReasoning) {
      const auto found = message.find(name);
      if (thought == nullptr && found != message.end() && !found->is_null()) thought = &*found;
    }
    if (thought != nullptr) copy["thinking"] = *thought;
    for (const auto& [key, value] : message.items()) {
      if (!value.is_null()) copy[key] = value;
    }
    if (thought != nullptr) copy["reasoning_content"] = *thought;
    prepared.push_back(std::move(copy));
  }
  return prepared;
}

bool has_text_parts(const Json& messages) {
  for (const Json& message : messages) {
    if (is_list_of_text(message)) return true;
  }
  return false;
}

Json with_joined_parts(Json messages) {
  for (Json& message : messages) {
    if (is_list_of_text(message)) message["content"] = joined(message["content"]);
  }
  return messages;
}

OpenEnd::OpenEnd(Json& messages) {
  std::string& text = last_text(messages.back());
  text_ = text;
  text += kMark;
}

std::string OpenEnd::cut(const std::string& prompt) const {
  const std::size_t at = prompt.rfind(kBareMark);
  if (at == std::string::npos || prompt.find(python_strip(text_)) == std::string::npos) {
    refuse("the chat template does not print the assistant's last message as it is");
  }
  const std::string_view before = std::string_view(prompt).substr(0, at);
  const bool spaces_stay = prompt.compare(at, kMark.size(), kMark) == 0;
  return std::string(spaces_stay ? before : python_rstrip(before));
}

}  // namespace spd
