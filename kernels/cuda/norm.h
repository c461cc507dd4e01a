// Norms of rows, and conversions of rows to what a matrix product takes.
#pragma once

#include "kernels/cuda/queue.h"
#include "kernels/cuda/rows.h"

namespace spd::cuda {

struct NormArgs {
  Rows<const float> x;  ///< [tokens, cols]
  std::int64_t tokens = 0;
  int cols = 0;
  const Norm* norm = nullptr;  ///< null: rows are only converted
  void* out = nullptr;         ///< [tokens, cols] of `type`; may be x
  std::int64_t out_stride = 0;
  DType type = DType::f32;  ///< f32, bf16 or f16
};
void norm_rows(const NormArgs& args, const Queue& queue);

/// out [rows, stride] bf16 = in [rows, stride] i8 * scales [rows]: exact.
void expand_rows(const void* in, const float* scales, std::int64_t rows, std::int64_t stride,
                 void* out, const Queue& queue);

}  // namespace spd::cuda
