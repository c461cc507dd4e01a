// Back through attention over whole sequences, in f32, the probabilities computed again.
#pragma once

#include "kernels/cuda/queue.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/step_rows.h"

namespace spd::cuda {

/// Where a row's sequence lies: its positions are rows [first, first + length) of the step.
struct SequenceRow {
  std::int32_t first = 0, length = 0;  ///< length 0: the row belongs to no sequence
  std::int32_t slot = 0, position = 0;
};

/// What a query's soft-max was, and out * dout.
struct SoftmaxRow {
  float max = 0.0f, sum = 0.0f, dot = 0.0f;
};

struct AttentionGradient {
  Rows<const float> q, out, dout;  ///< [tokens, q_heads * head_dim]
  Rows<float> dqkv;                ///< [tokens, (q_heads + 2 * kv_heads) * head_dim]
  const SequenceRow* rows = nullptr;
  std::int64_t tokens = 0;
  int q_heads = 0;
  const std::int32_t* kv_head_of = nullptr;  ///< device, [q_heads]
  float scale = 1.0f;
  int window = 0;
  CacheView cache;                ///< f32
  SoftmaxRow* softmax = nullptr;  ///< [tokens, q_heads]
};

/// Two kernels: by queries, then by keys, so that every sum has one order. Heads of up to 256.
void attention_gradient(const AttentionGradient& args, const Queue& queue);

}  // namespace spd::cuda
