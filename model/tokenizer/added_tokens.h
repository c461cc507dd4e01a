// Tokens that are found in a text as they stand, before anything else is done to it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/added_token_search.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/tokenizer.h"

namespace spd {

struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool single_word = false;  ///< found only where no word goes on before or after it
  bool lstrip = false;       ///< takes the spaces before it
  bool rstrip = false;       ///< takes the spaces after it
  bool normalized = false;   ///< looked for in the normalised text, in its normalised form
  bool special = false;      ///< left out of decoded text on request
};

/// A stretch of text, or the added token that it is.
struct TextSpan {
  std::size_t begin = 0, end = 0;
  TokenId id = -1;  ///< -1: text
};

class AddedTokens {
 public:
  AddedTokens() = default;
  /// `normalizer` may be null. Tokens with empty content are left out. Where two have the same id
  /// or content, or are looked for in the same form, a special token comes before others and a
  /// later one says what they are. Throws input Error for more text than AddedTokenSearch takes.
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer);

  /// Cuts a text at the tokens that are looked for before (`normalized` false) or after it was
  /// normalised: leftmost first, longest first. No spans for an empty text.
  std::vector<TextSpan> find(std::string_view text, bool normalized) const;

  /// nullptr where the id is not an added token's.
  const AddedToken* token(TokenId id) const;
  /// nullptr where no added token has this content.
  const AddedToken* token(std::string_view content) const;
  bool is_special(TokenId id) const;
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  // What is looked for, and which of tokens_ each needle is.
  struct Needles {
    AddedTokenSearch search;
    std::vector<std::size_t> tokens;
  };

  std::vector<AddedToken> tokens_;
  std::unordered_map<TokenId, std::size_t> by_id_;
  std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> by_content_;
  Needles plain_, normalized_;
};

}  // namespace spd
