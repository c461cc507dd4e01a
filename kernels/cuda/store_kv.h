// Norms and rotations of heads, and their way into the cache.
#pragma once

#include "kernels/cuda/queue.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/step_rows.h"

namespace spd::cuda {

/// A head's norm; without a weight there is none.
struct HeadNorm {
  const float* weight = nullptr;
  const float* bias = nullptr;
  float epsilon = 0.0f;
  bool layer = false;
};

struct StoreArgs {
  Rows<float> qkv;  ///< [tokens, (q_heads + 2 * kv_heads) * head_dim]
  const StepRow* rows = nullptr;
  std::int64_t tokens = 0;
  int q_heads = 0;
  HeadNorm q_norm, k_norm;
  const float* cos_sin = nullptr;  ///< [positions, 2, rotary_dim / 2]; null: no rotation
  int rotary_dim = 0;
  CacheView cache;
};
void store_kv(const StoreArgs& args, const Queue& queue);

}  // namespace spd::cuda
