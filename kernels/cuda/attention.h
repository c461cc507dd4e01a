// Attention of single rows over the cache: of decode steps, where each sequence has one row.
#pragma once

#include "kernels/cuda/queue.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/step_rows.h"

namespace spd::cuda {

inline constexpr int kMostHeadDim = 256;

struct DecodeArgs {
  Rows<const float> q;  ///< [tokens, q_heads * head_dim], rotated
  Rows<float> out;      ///< the same shape
  const StepRow* rows = nullptr;
  std::int64_t tokens = 0;
  bool skips_tiled = false;  ///< rows of tiles are somebody else's
  int q_heads = 0;
  const HeadGroup* groups = nullptr;
  int group_count = 0;
  int widest_group = 1;  ///< most heads of a group
  float scale = 1.0f;
  int window = 0;  ///< positions that a token sees; 0: all
  CacheView cache;
  /// Parts that each row's positions are cut into. A captured graph keeps it, whatever the length.
  int splits = 1;
  float* partial = nullptr;  ///< partial_floats() of them, where there is more than one part
};

/// Results of the parts: [tokens, q_heads, splits, head_dim + 2].
inline std::int64_t partial_floats(std::int64_t tokens, int q_heads, int splits, int head_dim) {
  return tokens * q_heads * splits * (head_dim + 2);
}

/// A good number of parts for rows of this many positions.
int choose_splits(std::int64_t tokens, int group_count, std::int64_t longest, int multiprocessors);

void decode_attention(const DecodeArgs& args, const Queue& queue);

}  // namespace spd::cuda
