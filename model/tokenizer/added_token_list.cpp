#include "model/tokenizer/added_token_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/device/error.h"
#include "model/tokenizer/file_kind.h"

namespace spd {

void AddedTokenList::add(AddedToken token, std::optional<TokenId> id) {
  if (token.content.empty()) return;
  const auto [place, is_new] = by_content_.try_emplace(token.content, tokens_.size());
  if (!is_new) {
    AddedToken& known = tokens_[place->second];
    token.id = known.id;
    token.special = token.special || known.special;
    known = std::move(token);
    return;
  }
  if (const std::optional<TokenId> own = vocabulary_.find(token.content)) {
    token.id = *own;
  } else if (id && !taken_.contains(*id) && !vocabulary_.text(*id)) {
    token.id = *id;
  } else {
    token.id = std::max(highest_, static_cast<TokenId>(vocabulary_.size()) - 1) + 1;
    if (token.id > Vocabulary::kMaxId) {
      throw Error(ErrorCode::input,
                  fmt::format("no id is left for the added token {}", quoted_text(token.content)),
                  "check the ids of the added tokens");
    }
  }
  taken_.insert(token.id);
  highest_ = std::max(highest_, token.id);
  tokens_.push_back(std::move(token));
}

void AddedTokenList::mark_special(const std::string& content) {
  const auto found = by_content_.find(content);
  if (found != by_content_.end()) tokens_[found->second].special = true;
}

}  // namespace spd
