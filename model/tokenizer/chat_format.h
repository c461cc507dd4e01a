// The form of a model's conversations, recognised from the text of its Jinja template.
#pragma once

#include <optional>
#include <string>

namespace spd {

/// Two forms cover the known templates.
///   Turns: start, then each message as  before_role ROLE after_role CONTENT after_content.
///   Pairs: start, then  before_user [before_system SYSTEM after_system] CONTENT after_user
///          before_reply CONTENT after_reply.
struct ChatFormat {
  std::string name;  ///< "chatml", "llama3", "llama2", "mistral" or "zephyr"
  bool pairs = false;
  bool trim = false;           ///< contents lose the spaces around them ...
  bool trim_reply = false;     ///< ... or only the assistant's
  bool drop_thoughts = false;  ///< what the assistant thought before is not repeated
  std::string start;

  std::string before_role, after_role, after_content;
  std::string default_system;   ///< for chats without a system message; empty: none
  std::string system_preamble;  ///< begins every system message; not empty: there always is one

  std::string before_user, after_user, before_reply, after_reply;
  std::string before_system, after_system;
  bool start_each_pair = false;
  bool system_goes_last = false;  ///< into the last user message instead of the first
};

/// None for a template that is not known. `bos`, `eos`: the model's tokens.
std::optional<ChatFormat> recognise_chat_format(const std::string& jinja, const std::string& bos,
                                                const std::string& eos);

}  // namespace spd
