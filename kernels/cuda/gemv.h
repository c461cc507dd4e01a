// Products of up to eight tokens with a weight that is read once, from end to end.
#pragma once

#include "kernels/cuda/queue.h"
#include "kernels/cuda/rows.h"

namespace spd::cuda {

inline constexpr int kGemvTokens = 8;  ///< at most

/// One weight and what becomes of its products.
struct GemvMatrix {
  const void* weights = nullptr;  ///< [rows, stride], rows padded with zeros to whole vectors
  const float* scales = nullptr;  ///< [rows], i8 only
  std::int64_t stride = 0;        ///< elements
  int outputs = 0;                ///< 0: no product; half of the rows where gated
  Finish finish;
};

struct GemvArgs {
  Rows<const float> x;  ///< [tokens, cols]
  int tokens = 0;
  int cols = 0;
  bool aligned = false;                ///< each row of x and `norm_weight` start a 16-byte vector
  const float* norm_weight = nullptr;  ///< [cols]; an RMS norm of x goes first, if given
  float epsilon = 0.0f;
  int split = 1;          ///< warps that share a row: 1, 2 or 4
  GemvMatrix main, side;  ///< both of the same type, of the same x
};

/// Chooses the split itself.
void gemv(DType type, const GemvArgs& args, const Queue& queue);

}  // namespace spd::cuda
