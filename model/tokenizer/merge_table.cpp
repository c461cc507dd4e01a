#include "model/tokenizer/merge_table.h"

#include <algorithm>
#include <bit>

namespace spd {

MergeTable::MergeTable(std::size_t merges)
    : slots_(std::bit_ceil(std::max<std::size_t>(2 * merges, 2))),
      shift_(64 - std::countr_zero(slots_.size())) {}

std::size_t MergeTable::slot_of(TokenId left, TokenId right) const {
  // Fibonacci hashing: the golden ratio's bits spread neighbouring keys over the table.
  constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;
  const std::uint64_t key =
      std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  std::size_t at = (key ^ key >> 29) * kGolden >> shift_;
  while (slots_[at].merge.merged >= 0 && (slots_[at].left != left || slots_[at].right != right)) {
    at = (at + 1) & (slots_.size() - 1);
  }
  return at;
}

void MergeTable::set(TokenId left, TokenId right, Merge merge) {
  slots_[slot_of(left, right)] = {left, right, merge};
}

}  // namespace spd
