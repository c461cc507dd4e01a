// The chat template of a model: conversations as the prompt text that it was trained on.
#pragma once

#include <ctime>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "model/tokenizer/chat_files.h"
#include "model/tokenizer/jinja/template.h"

namespace spd {

/// What a template is given. The order of keys is kept, for templates print whole objects.
struct Conversation {
  /// [{"role": R, "content": C, ...}, ...]: whatever else a message has, tool_calls and
  /// reasoning_content among it, reaches the template, too.
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  nlohmann::ordered_json tools;      ///< JSON schemas of functions, or null
  nlohmann::ordered_json documents;  ///< [{"title", "text"}, ...], or null
  /// More variables by name: {"enable_thinking": false}.
  nlohmann::ordered_json arguments = nlohmann::ordered_json::object();
};

/// The model's own template, executed as transformers 5 does (apply_chat_template): the same files,
/// variables and choice among several templates ("tool_use" where tools are given). Beyond it:
/// where a template cannot take content as a list of text parts, the parts are joined with line
/// ends; tools, documents and arguments that the template does not name are refused.
class ChatTemplate {
 public:
  /// Throws input Error (file, remedy: use a plain prompt) where the model has no template.
  static ChatTemplate load(const std::filesystem::path& model_dir);
  /// The prompt, to be encoded without added specials. It ends where the assistant's turn begins;
  /// where the last message is the assistant's, within that message, for the model to continue it.
  /// `now`: what templates that print the date take for today. Throws input Error naming the
  /// template's file, line and column for what the template refuses or this program does not know.
  std::string render(const Conversation& conversation, std::time_t now);

 private:
  explicit ChatTemplate(ChatFiles files) : files_(std::move(files)) {}
  const ChatTemplateSource& choose(bool with_tools) const;
  /// None where content that is a list came out as one: the template takes only texts.
  std::optional<std::string> render_given(const ChatTemplateSource& source,
                                          const Conversation& conversation, bool with_lists,
                                          std::time_t now);
  std::string run(const ChatTemplateSource& source, const Conversation& conversation,
                  const nlohmann::ordered_json& messages, bool add_generation_prompt,
                  std::time_t now);

  ChatFiles files_;
  std::map<std::string, jinja::Template> parsed_;  // by name, once used
};

}  // namespace spd
