#include "model/tokenizer/chat_template.h"

#include <fmt/format.h>

#include <cctype>
#include <string_view>

#include "kernels/device/error.h"
#include "model/tokenizer/tokenizer_config.h"

namespace spd {

// Two forms cover the known templates.
// Turns: start, then each message as  before_role ROLE after_role CONTENT after_content.
// Pairs: start, then  before_user [before_system SYSTEM after_system] CONTENT after_user
//        before_reply CONTENT after_reply.
struct ChatTemplate::Format {
  bool pairs = false;
  bool trim = false;           // contents lose the spaces around them ...
  bool trim_reply = false;     // ... or only the assistant's
  bool drop_thoughts = false;  // what the assistant thought before is not repeated
  std::string start;

  std::string before_role, after_role, after_content;
  std::string default_system;   // stands in for a missing system message; empty: nothing does
  std::string system_preamble;  // begins every system message; not empty: there always is one

  std::string before_user, after_user, before_reply, after_reply;
  std::string before_system, after_system;
  bool start_each_pair = false;
  bool system_goes_last = false;  // into the last user message instead of the first

  std::string render_turns(const std::vector<ChatMessage>& messages) const;
  std::string render_pairs(const std::vector<ChatMessage>& messages) const;
};

namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Jinja's string literals, escapes resolved. Templates escape nothing but line ends and quotes.
std::vector<std::string> literals_of(std::string_view jinja) {
  std::vector<std::string> literals;
  bool inside = false;  // {{ }} or {% %}: literals are nowhere else
  for (std::size_t i = 0; i < jinja.size(); ++i) {
    const std::string_view two = jinja.substr(i, 2);
    if (two == "{{" || two == "{%") inside = true;
    if (two == "}}" || two == "%}") inside = false;
    if (!inside || (jinja[i] != '\'' && jinja[i] != '"')) continue;
    const char quote = jinja[i];
    std::string literal;
    for (++i; i < jinja.size() && jinja[i] != quote; ++i) {
      if (jinja[i] == '\\' && i + 1 < jinja.size()) {
        ++i;
        literal += jinja[i] == 'n' ? '\n' : jinja[i];
      } else {
        literal += jinja[i];
      }
    }
    literals.push_back(std::move(literal));
  }
  return literals;
}

// The first literal that contains `part`, else `fallback`.
std::string literal_with(const std::vector<std::string>& literals, std::string_view part,
                         const std::string& fallback) {
  for (const std::string& literal : literals) {
    if (contains(literal, part)) return literal;
  }
  return fallback;
}

// The text without white space, so that what is sought does not depend on its layout; single and
// double quotes are made one.
std::string squeezed(std::string_view jinja) {
  std::string text;
  for (const char c : jinja) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) text += c == '"' ? '\'' : c;
  }
  return text;
}

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

// "<|im_start|>system\nPROMPT<|im_end|>..." as one literal is a default system prompt.
std::string default_system_of(const std::vector<std::string>& literals) {
  constexpr std::string_view kOpen = "<|im_start|>system\n";
  for (const std::string& literal : literals) {
    const std::size_t end = literal.find("<|im_end|>");
    if (literal.starts_with(kOpen) && end != std::string::npos) {
      return literal.substr(kOpen.size(), end - kOpen.size());
    }
  }
  return "";
}

// LLaMA 3.1 and later begin every system message with two dates. Today's is the template's own
// default, so that the same conversation is the same prompt tomorrow.
std::string llama3_preamble(const std::string& jinja, const std::vector<std::string>& literals) {
  if (!contains(jinja, "Cutting Knowledge Date")) return "";
  std::string date = "26 Jul 2024";
  for (std::size_t i = 0; i < literals.size(); ++i) {
    const bool looks_like_date = literals[i].size() == 11 && literals[i][2] == ' ' &&
                                 std::isdigit(static_cast<unsigned char>(literals[i][0])) != 0;
    if (looks_like_date) date = literals[i];
  }
  return literal_with(literals, "Cutting Knowledge Date",
                      "Cutting Knowledge Date: December 2023\n") +
         "Today Date: " + date + "\n\n";
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
  const std::string& jinja = *config.chat_template;
  const std::vector<std::string> literals = literals_of(jinja);
  const std::string squeezed_jinja = squeezed(jinja);
  const std::string bos = config.bos_token.value_or("");
  const std::string eos = config.eos_token.value_or("");
  Format format;
  std::string name;
  if (contains(jinja, "<|start_header_id|>")) {
    name = "llama3";
    format.start = bos;
    format.before_role = "<|start_header_id|>";
    format.after_role = "<|end_header_id|>\n\n";
    format.after_content = "<|eot_id|>";
    format.trim = true;
    format.system_preamble = llama3_preamble(jinja, literals);
  } else if (contains(jinja, "<|im_start|>")) {
    name = "chatml";
    if (contains(squeezed_jinja, "{{bos_token") || contains(squeezed_jinja, "{{-bos_token")) {
      format.start = bos;
    }
    format.before_role = "<|im_start|>";
    format.after_role = "\n";
    format.after_content = "<|im_end|>\n";
    format.default_system = default_system_of(literals);
    format.drop_thoughts = contains(jinja, "</think>");
  } else if (contains(jinja, "<<SYS>>")) {
    name = "llama2";
    format.pairs = true;
    format.trim = true;
    format.start = bos;
    format.start_each_pair = true;
    format.before_user = literal_with(literals, "[INST]", "[INST] ");
    format.after_user = literal_with(literals, "[/INST]", " [/INST]");
    format.before_reply = " ";
    format.after_reply = " " + eos;
    format.before_system = "<<SYS>>\n";
    format.after_system = "\n<</SYS>>\n\n";
  } else if (contains(jinja, "[INST]")) {
    name = "mistral";
    format.pairs = true;
    format.start = bos;
    format.before_user = literal_with(literals, "[INST]", "[INST] ");
    format.after_user = literal_with(literals, "[/INST]", " [/INST]");
    // Squeezed, a literal space is an empty literal.
    if (contains(squeezed_jinja, "''+message['content']")) format.before_reply = " ";
    format.trim_reply = contains(squeezed_jinja, "message['content']|trim");
    format.after_reply = eos + (contains(squeezed_jinja, "eos_token+''") ? " " : "");
    format.after_system = "\n\n";
    format.system_goes_last = contains(squeezed_jinja, "loop.lastandsystem_message");
  } else if (contains(jinja, "<|user|>") && contains(jinja, "eos_token") &&
             !contains(jinja, "<|end|>")) {
    name = "zephyr";
    format.before_role = "<|";
    format.after_role = "|>\n";
    format.after_content = eos + "\n";
  } else {
    throw Error(ErrorCode::input,
                fmt::format("{}: the chat template is none of the known ones (chatml, llama3, "
                            "llama2, mistral, zephyr)",
                            model_dir.string()),
                remedy);
  }
  return {std::move(name), std::make_shared<const Format>(std::move(format))};
}

namespace {

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

}  // namespace

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages) const {
  check_roles(messages, format_->pairs, name_);
  return format_->pairs ? format_->render_pairs(messages) : format_->render_turns(messages);
}

std::string ChatTemplate::Format::render_turns(const std::vector<ChatMessage>& messages) const {
  std::string prompt = start;
  const auto add = [&](const std::string& role, const std::string& content) {
    prompt += before_role + role + after_role + content + after_content;
  };
  if (messages.front().role != "system" && !(default_system + system_preamble).empty()) {
    add("system", system_preamble + default_system);
  }
  for (const ChatMessage& message : messages) {
    std::string content = trim ? trimmed(message.content) : message.content;
    if (message.role == "system") content = system_preamble + content;
    if (message.role == "assistant" && drop_thoughts) content = without_thoughts(content);
    add(message.role, content);
  }
  return prompt + before_role + "assistant" + after_role;
}

std::string ChatTemplate::Format::render_pairs(const std::vector<ChatMessage>& messages) const {
  std::string prompt = start_each_pair ? "" : start;
  const bool has_system = messages.front().role == "system";
  for (std::size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    const std::string& content = messages[i].content;
    if (messages[i].role == "assistant") {
      prompt += before_reply + (trim || trim_reply ? trimmed(content) : content) + after_reply;
      continue;
    }
    std::string text = content;
    if (has_system && i == (system_goes_last ? messages.size() - 1 : 1)) {
      text = before_system + messages.front().content + after_system + text;
    }
    if (start_each_pair) prompt += start;
    prompt += before_user + (trim ? trimmed(text) : text) + after_user;
  }
  return prompt;
}

}  // namespace spd
