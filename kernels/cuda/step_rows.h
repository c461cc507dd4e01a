// What a step's kernels know of each of its rows, and of the cache: all in device memory, so that a
// captured graph reads what the next step has put there.
#pragma once

#include <cstdint>

#include "kernels/device/dtype.h"

namespace spd::cuda {

/// One token of a step. `slot` below 0: the row belongs to no sequence.
struct StepRow {
  std::int32_t slot = -1;
  std::int32_t position = 0;
  std::int32_t tiled = 0;  ///< 1: a tile of rows has it, too
};

/// One layer's keys and values: blocks of `block_size` positions, [blocks, kv_heads, block_size,
/// head_dim] each. Block `i` of a slot is `blocks[slot * blocks_a_slot + i]`; without a table, a
/// slot is one block.
struct CacheView {
  void* keys = nullptr;
  void* values = nullptr;
  DType type = DType::f32;
  int kv_heads = 0;
  int head_dim = 0;
  int block_size = 0;
  const std::int32_t* blocks = nullptr;
  int blocks_a_slot = 1;
};

/// Query heads that read the same KV head and are treated together.
inline constexpr int kMostHeads = 8;
struct HeadGroup {
  std::int32_t kv_head = 0;
  std::int32_t count = 0;
  std::int32_t heads[kMostHeads] = {};
};

}  // namespace spd::cuda
