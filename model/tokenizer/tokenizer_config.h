// tokenizer_config.json and the small files around it, as far as this program needs them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/added_token_list.h"
#include "model/tokenizer/added_tokens.h"

namespace spd {

struct TokenizerConfig {
  std::string model_type;  ///< config.json's; empty where not said, like all that follows
  std::string tokenizer_class;
  std::optional<bool> add_bos_token, add_eos_token;
  bool add_prefix_space = false;
  std::optional<std::string> bos_token, eos_token, unk_token, pad_token;
  /// "legacy" of LLaMA's kind of tokenizer: see marks_only_first().
  std::optional<bool> legacy;
  /// From added_tokens_decoder, or added_tokens.json: in order of their ids.
  std::vector<AddedToken> added_tokens;
  /// The tokens that have a name (bos_token, sep_token, image_token, ...) and those of
  /// extra_special_tokens or additional_special_tokens, in the order in which transformers adds
  /// them to a tokenizer that lacks them. Without ids.
  std::vector<AddedToken> special_tokens;
  /// Tokens that have a name: special also where the tokenizer's own file says otherwise. Empty
  /// where added_tokens_decoder says what tokens are.
  std::vector<std::string> always_special;

  /// Reads DIR/tokenizer_config.json. As in transformers, DIR/special_tokens_map.json and
  /// DIR/added_tokens.json come before it where it has no added_tokens_decoder; where it has one,
  /// the map only tells names that are missing. Files that are not there count as empty; throws
  /// input Error for one that cannot be read or is malformed.
  static TokenizerConfig load(const std::filesystem::path& dir);
  /// Whether SentencePiece's space mark comes only before a text, not before every stretch between
  /// added tokens. As in transformers 5: for LLaMA unless "legacy" is true, for others if it is
  /// false. (transformers 4 takes a missing "legacy" for true.)
  bool marks_only_first() const {
    return is_llama() ? !legacy.value_or(false) : !legacy.value_or(true);
  }
  /// Whether transformers would make a LlamaTokenizer of it.
  bool is_llama() const;
  /// Adds all tokens above to what a tokenizer's own file has.
  void add_to(AddedTokenList& list) const;
};

}  // namespace spd
