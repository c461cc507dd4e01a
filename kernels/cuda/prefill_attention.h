// Attention of many rows of one sequence over the cache, on tensor cores.
#pragma once

#include "kernels/cuda/queue.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/step_rows.h"

namespace spd::cuda {

/// Rows that a block treats together.
inline constexpr int kPrefillTile = 64;

/// Consecutive rows of one sequence, at most kPrefillTile.
struct QueryTile {
  std::int32_t row = 0;
  std::int32_t count = 0;
  std::int32_t slot = 0;
  std::int32_t position = 0;  ///< of the first
};

struct PrefillArgs {
  Rows<const float> q;  ///< [tokens, q_heads * head_dim], rotated
  Rows<float> out;      ///< the same shape
  const QueryTile* tiles = nullptr;
  int tile_count = 0;
  int q_heads = 0;
  const std::int32_t* kv_head_of = nullptr;  ///< [q_heads], device
  float scale = 1.0f;
  int window = 0;  ///< positions that a token sees; 0: all
  CacheView cache;
};

/// Caches that it takes; others go through decode_attention.
inline bool takes_prefill(const CacheView& cache) {
  return (cache.head_dim == 64 || cache.head_dim == 128) &&
         (cache.type == DType::bf16 || cache.type == DType::f16);
}

/// Queries and weights are rounded to the cache's type; sums and the soft-max are f32.
void prefill_attention(const PrefillArgs& args, const Queue& queue);

}  // namespace spd::cuda
