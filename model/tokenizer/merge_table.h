// The merge table of BPE: which two neighbouring tokens merge, into what, and how early.
#pragma once

#include <cstdint>
#include <vector>

#include "model/tokenizer/tokenizer.h"

namespace spd {

struct Merge {
  std::uint32_t rank = 0;  ///< lower merges earlier
  TokenId merged = -1;
};

/// A hash table from pairs of ids to merges: open addressing, at most half full. Looked up once for
/// every pair of neighbours in a text, which is why it is not a std::unordered_map.
class MergeTable {
 public:
  explicit MergeTable(std::size_t merges = 0);
  /// A pair that is there already gets the new merge. No more pairs than the constructor was told.
  void set(TokenId left, TokenId right, Merge merge);
  /// nullptr where the pair does not merge.
  const Merge* find(TokenId left, TokenId right) const {
    const Slot& slot = slots_[slot_of(left, right)];
    return slot.merge.merged < 0 ? nullptr : &slot.merge;
  }

 private:
  struct Slot {
    TokenId left = -1, right = -1;
    Merge merge;
  };
  std::size_t slot_of(TokenId left, TokenId right) const;

  std::vector<Slot> slots_;  // a power of two
  int shift_ = 0;            // 64 - log2(slots)
};

}  // namespace spd
