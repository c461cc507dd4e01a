// Tokens and their ids.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/tokenizer.h"

namespace spd {

class Vocabulary {
 public:
  /// Ids beyond this are taken for a mistake in the file.
  static constexpr std::int64_t kMaxId = (1 << 24) - 1;

  /// Throws input Error for an id that is out of range or taken by another token, or a token that
  /// has another id. Adding the same twice is allowed.
  void add(std::string_view token, std::int64_t id);

  std::optional<TokenId> find(std::string_view token) const;
  /// The token's text, none for an id that no token has.
  std::optional<std::string_view> text(TokenId id) const;
  /// Highest id + 1.
  std::int64_t size() const { return static_cast<std::int64_t>(texts_.size()); }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, TokenId, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> texts_;  // [id], into ids_
};

}  // namespace spd
