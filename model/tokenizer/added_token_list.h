// The added tokens of a tokenizer, put together from all the files that name some.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/vocabulary.h"

namespace spd {

/// Ids, as transformers gives them but for one thing: a token that the model's vocabulary has keeps
/// its id there; any other has the id that its file says, and the next free one where the file says
/// none or one that another token has. (tokenizers numbers all tokens outside of the vocabulary
/// anew, in order. Files with a hole in their ids then get ids that are not the embedding's rows.
/// Here they keep the file's.)
class AddedTokenList {
 public:
  explicit AddedTokenList(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  /// A token that is there already gets the new one's options, and stays special if it was. Empty
  /// tokens are left out. Throws input Error where ids run out.
  void add(AddedToken token, std::optional<TokenId> id);
  bool has(const std::string& content) const { return by_content_.contains(content); }
  /// Makes a token that is there a special one.
  void mark_special(const std::string& content);
  std::vector<AddedToken> take() { return std::move(tokens_); }

 private:
  const Vocabulary& vocabulary_;
  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, std::size_t> by_content_;
  std::unordered_set<TokenId> taken_;
  TokenId highest_ = -1;
};

}  // namespace spd
