#include "model/tokenizer/chat_template.h"

#include <fmt/format.h>

#include <cctype>
#include <string_view>

#include "kernels/device/error.h"
#include "model/tokenizer/chat_format.h"
#include "model/tokenizer/tokenizer_config.h"

namespace spd {
namespace {

std::string trimmed(std::string_view text) {
  const auto space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return std::string(text);
}

std::string without_thoughts(std::string_view content) {
  constexpr std::string_view kEnd = "</think>";
  const std::size_t end = content.rfind(kEnd);
  if (end == std::string_view::npos) return std::string(content);
  content.remove_prefix(end + kEnd.size());
  while (content.starts_with('\n')) content.remove_prefix(1);
  return std::string(content);
}

void check_roles(const std::vector<ChatMessage>& messages, bool in_turn, const std::string& name) {
  std::size_t turns = 0;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant") {
      throw Error(ErrorCode::usage, fmt::format("message {} has the role \"{}\"", i + 1, role),
                  "use system, user or assistant");
    }
    if (role == "system") {
      if (i == 0) continue;
      throw Error(ErrorCode::usage, fmt::format("message {} is a system message", i + 1),
                  "put the system message first");
    }
    if (in_turn && (role == "user") != (turns++ % 2 == 0)) {
      throw Error(ErrorCode::usage,
                  fmt::format("message {} ({}) breaks the order of a {} chat", i + 1, role, name),
                  "let user and assistant speak in turn, the user first");
    }
  }
  if (messages.empty() || messages.back().role != "user") {
    throw Error(ErrorCode::usage, "the chat does not end with a user's message",
                "end it with what the assistant is to answer");
  }
}

std::string render_turns(const ChatFormat& format, const std::vector<ChatMessage>& messages) {
  std::string prompt = format.start;
  const auto add = [&](const std::string& role, const std::string& content) {
    prompt += format.before_role + role + format.after_role + content + format.after_content;
  };
  if (messages.front().role != "system" &&
      !(format.default_system + format.system_preamble).empty()) {
    add("system", format.system_preamble + format.default_system);
  }
  for (const ChatMessage& message : messages) {
    std::string content = format.trim ? trimmed(message.content) : message.content;
    if (message.role == "system") content = format.system_preamble + content;
    if (message.role == "assistant" && format.drop_thoughts) content = without_thoughts(content);
    add(message.role, content);
  }
  return prompt + format.before_role + "assistant" + format.after_role;
}

std::string render_pairs(const ChatFormat& format, const std::vector<ChatMessage>& messages) {
  std::string prompt = format.start_each_pair ? "" : format.start;
  const bool has_system = messages.front().role == "system";
  for (std::size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    const std::string& content = messages[i].content;
    if (messages[i].role == "assistant") {
      prompt += format.before_reply +
                (format.trim || format.trim_reply ? trimmed(content) : content) +
                format.after_reply;
      continue;
    }
    std::string text = content;
    if (has_system && i == (format.system_goes_last ? messages.size() - 1 : 1)) {
      text = format.before_system + messages.front().content + format.after_system + text;
    }
    if (format.start_each_pair) prompt += format.start;
    prompt += format.before_user + (format.trim ? trimmed(text) : text) + format.after_user;
  }
  return prompt;
}

}  // namespace

ChatTemplate ChatTemplate::load(const std::filesystem::path& model_dir) {
  const TokenizerConfig config = TokenizerConfig::load(model_dir);
  const std::string remedy = "use a plain prompt instead of a chat";
  if (!config.chat_template) {
    throw Error(ErrorCode::input,
                fmt::format("{}: no chat template in chat_template.jinja or tokenizer_config.json",
                            model_dir.string()),
                remedy);
  }
  std::optional<ChatFormat> format = recognise_chat_format(
      *config.chat_template, config.bos_token.value_or(""), config.eos_token.value_or(""));
  if (!format) {
    throw Error(ErrorCode::input,
                fmt::format("{}: the chat template is none of the known ones (chatml, llama3, "
                            "llama2, mistral, zephyr)",
                            model_dir.string()),
                remedy);
  }
  return ChatTemplate(std::make_shared<const ChatFormat>(std::move(*format)));
}

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages) const {
  check_roles(messages, format_->pairs, format_->name);
  return format_->pairs ? render_pairs(*format_, messages) : render_turns(*format_, messages);
}

const std::string& ChatTemplate::name() const { return format_->name; }

}  // namespace spd
