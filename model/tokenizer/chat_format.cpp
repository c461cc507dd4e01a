#include "model/tokenizer/chat_format.h"

#include <fmt/format.h>

#include <cctype>
#include <string_view>
#include <vector>

namespace spd {
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

// A template, in the shapes in which it is looked at.
struct Template {
  std::string jinja;
  std::string squeezed;
  std::vector<std::string> literals;
  std::string bos, eos;

  bool has(std::string_view part) const { return contains(jinja, part); }
  bool has_squeezed(std::string_view part) const { return contains(squeezed, part); }
  // What the prompt begins with if the template prints BOS before all else.
  std::string start() const {
    return has_squeezed("{{bos_token") || has_squeezed("{{-bos_token") ? bos : "";
  }
};

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
std::string llama3_preamble(const Template& from) {
  if (!from.has("Cutting Knowledge Date")) return "";
  std::string date = "26 Jul 2024";
  for (const std::string& literal : from.literals) {
    const bool like_a_date = literal.size() == date.size() && literal[2] == ' ' &&
                             std::isdigit(static_cast<unsigned char>(literal[0])) != 0;
    if (like_a_date) date = literal;
  }
  return literal_with(from.literals, "Cutting Knowledge Date",
                      "Cutting Knowledge Date: December 2023\n") +
         "Today Date: " + date + "\n\n";
}

ChatFormat make_llama3(const Template& from) {
  ChatFormat format;
  format.name = "llama3";
  format.start = from.bos;
  format.before_role = "<|start_header_id|>";
  format.after_role = "<|end_header_id|>\n\n";
  format.after_content = "<|eot_id|>";
  format.trim = true;
  format.system_preamble = llama3_preamble(from);
  return format;
}

ChatFormat make_chatml(const Template& from) {
  ChatFormat format;
  format.name = "chatml";
  format.start = from.start();
  format.before_role = "<|im_start|>";
  format.after_role = "\n";
  format.after_content = "<|im_end|>\n";
  format.default_system = default_system_of(from.literals);
  format.drop_thoughts = from.has("</think>");
  return format;
}

ChatFormat make_zephyr(const Template& from) {
  ChatFormat format;
  format.name = "zephyr";
  format.before_role = "<|";
  format.after_role = "|>\n";
  format.after_content = from.eos + "\n";
  return format;
}

ChatFormat make_llama2(const Template& from) {
  ChatFormat format;
  format.name = "llama2";
  format.pairs = true;
  format.trim = true;
  format.start_each_pair = from.has_squeezed("bos_token+'[INST]'");
  format.start = format.start_each_pair ? from.bos : from.start();
  format.before_user = "[INST] ";
  format.after_user = " [/INST]";
  format.before_reply = " ";
  format.after_reply = fmt::format(" {}", from.eos);
  format.before_system = "<<SYS>>\n";
  format.after_system = "\n<</SYS>>\n\n";
  return format;
}

// Mistral's templates differ by version in the spaces around the marks.
ChatFormat make_mistral(const Template& from) {
  ChatFormat format;
  format.name = "mistral";
  format.pairs = true;
  format.start = from.bos;
  format.before_user = literal_with(from.literals, "[INST]", "[INST] ");
  format.after_user = literal_with(from.literals, "[/INST]", " [/INST]");
  // Squeezed, a space in quotes is but the quotes.
  if (from.has_squeezed("''+message['content']")) format.before_reply = " ";
  format.trim_reply = from.has_squeezed("message['content']|trim");
  format.after_reply = from.eos;
  if (from.has_squeezed("eos_token+''")) format.after_reply += ' ';
  format.after_system = "\n\n";
  format.system_goes_last = from.has_squeezed("loop.lastandsystem_message");
  return format;
}

}  // namespace

std::optional<ChatFormat> recognise_chat_format(const std::string& jinja, const std::string& bos,
                                                const std::string& eos) {
  const Template from{jinja, squeezed(jinja), literals_of(jinja), bos, eos};
  if (from.has("<|start_header_id|>")) return make_llama3(from);
  if (from.has("<|im_start|>")) return make_chatml(from);
  if (from.has("<<SYS>>")) {
    // Some fine-tuned models write the marks in other places, or have a system prompt of their own.
    const bool usual =
        from.has_squeezed("'[INST]'+content.strip()+'[/INST]'") && !from.has_squeezed("true==true");
    return usual ? std::optional(make_llama2(from)) : std::nullopt;
  }
  if (from.has("[INST]")) return make_mistral(from);
  if (from.has("<|user|>") && from.has("eos_token") && !from.has("<|end|>")) {
    return make_zephyr(from);
  }
  return std::nullopt;
}

}  // namespace spd
