#include "model/tokenizer/vocabulary.h"

#include <fmt/format.h>

#include "kernels/device/error.h"
#include "model/tokenizer/file_kind.h"

namespace spd {

void Vocabulary::add(std::string_view token, std::int64_t id) {
  if (id < 0 || id > kMaxId) {
    throw Error(ErrorCode::input, fmt::format("token {} has the id {}, which is not within 0 "
                                              "and {}",
                                              quoted_text(token), id, kMaxId));
  }
  const auto [entry, added] = ids_.try_emplace(std::string(token), static_cast<TokenId>(id));
  if (!added && entry->second != id) {
    throw Error(ErrorCode::input, fmt::format("token {} has two ids, {} and {}", quoted_text(token),
                                              entry->second, id));
  }
  const auto index = static_cast<std::size_t>(id);
  if (index >= texts_.size()) texts_.resize(index + 1, nullptr);
  if (texts_[index] != nullptr && *texts_[index] != token) {
    throw Error(ErrorCode::input, fmt::format("tokens {} and {} have the same id {}",
                                              quoted_text(*texts_[index]), quoted_text(token), id));
  }
  texts_[index] = &entry->first;
}

std::optional<TokenId> Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> Vocabulary::text(TokenId id) const {
  const auto index = static_cast<std::size_t>(id);
  if (id < 0 || index >= texts_.size() || texts_[index] == nullptr) return std::nullopt;
  return *texts_[index];
}

}  // namespace spd
