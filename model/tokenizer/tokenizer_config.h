// tokenizer_config.json and the small files around it, as far as this program needs them.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/added_tokens.h"

namespace spd {

struct TokenizerConfig {
  std::string tokenizer_class;  ///< empty where not said, like all that follows
  std::optional<bool> add_bos_token, add_eos_token;
  bool add_prefix_space = false;
  std::optional<std::string> bos_token, eos_token, unk_token, pad_token;
  std::vector<AddedToken> added_tokens;  ///< from added_tokens_decoder, or added_tokens.json
  /// chat_template.jinja, else the field (of several templates, the one named "default").
  std::optional<std::string> chat_template;

  /// Reads DIR/tokenizer_config.json, with DIR/special_tokens_map.json and DIR/added_tokens.json
  /// for what it leaves open. Files that are not there count as empty; throws input Error for one
  /// that is malformed.
  static TokenizerConfig load(const std::filesystem::path& dir);
  /// Contents of the special tokens named above.
  std::vector<std::string> special_tokens() const;
};

}  // namespace spd
