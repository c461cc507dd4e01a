// Where a position of a sequence lies in the cache.
#pragma once

#include "kernels/cuda/language.cuh"
#include "kernels/cuda/step_rows.h"

namespace spd::cuda {

/// Elements before the head of (slot, kv_head, position).
__device__ inline std::int64_t cache_offset(const CacheView& cache, int slot, int kv_head,
                                            int position) {
  std::int64_t block = slot;
  int within = position;
  if (cache.blocks) {
    block = cache.blocks[slot * cache.blocks_a_slot + position / cache.block_size];
    within = position % cache.block_size;
  }
  return ((block * cache.kv_heads + kv_head) * cache.block_size + within) * cache.head_dim;
}

}  // namespace spd::cuda
