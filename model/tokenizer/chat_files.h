// The chat files of a model folder: its chat templates, and the names of its special tokens.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace spd {

struct ChatTemplateSource {
  std::string name;    ///< "default", "tool_use", ...
  std::string jinja;   ///< the template itself, UTF-8
  std::string origin;  ///< for messages: "DIR/chat_template.jinja"
};

struct ChatFiles {
  /// Names are unique. Empty where the model has none.
  std::vector<ChatTemplateSource> templates;
  /// {"bos_token": "<s>", "eos_token": "</s>", ...}: the tokens that have a name, as transformers'
  /// special_tokens_map gives them to templates.
  nlohmann::ordered_json special_tokens = nlohmann::ordered_json::object();

  /// Looks where transformers 5 looks, the first that is there: DIR/chat_template.jinja with
  /// DIR/additional_chat_templates/NAME.jinja; "chat_template" of DIR/tokenizer_config.json, a text
  /// or a list of {"name", "template"}; DIR/chat_template.json. Special tokens are those of
  /// tokenizer_config.json and, where it lists no added tokens, special_tokens_map.json. Throws
  /// input Error naming the file for one that is malformed.
  static ChatFiles load(const std::filesystem::path& dir);
};

}  // namespace spd
