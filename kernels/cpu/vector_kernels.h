// Vectorised work on single rows, dispatched at run time to the best instruction set.
#pragma once

#include <cstddef>

#include "kernels/operators.h"

namespace spd {

/// out[count] = norm(x); out may be x.
void norm_row(const float* x, std::size_t count, const Norm& norm, float* out);
void convert_to_f32(const void* from, DType type, std::size_t count, float* to);
/// Rounds to nearest even.
void convert_from_f32(const float* from, std::size_t count, void* to, DType type);
/// Rotates the pairs (head[i], head[i + half]) by the angles whose cosines and sines are given.
void rotate_head(float* head, const float* cosines, const float* sines, std::size_t half);

/// The last step of a product: y[count] (+)= epilogue(value + bias), times (up + up_bias) where
/// gated. Biases may be null; `up` and `up_bias` are read only where gated.
struct FinishArgs {
  Epilogue epilogue = Epilogue::none;
  bool accumulate = false;
  const float* value = nullptr;
  const float* bias = nullptr;
  const float* up = nullptr;
  const float* up_bias = nullptr;
  float* y = nullptr;
  std::size_t count = 0;
};
void finish_row(const FinishArgs& args);

/// row[count] = soft-max of scale * row, in place; count > 0.
void softmax_row(float* row, std::size_t count, float scale);
LogSumExp log_sum_exp_row(const float* row, std::size_t count);
/// The k <= count largest, as Operators::top_k; NaN ranks last.
void top_k_row(const float* row, std::size_t count, std::size_t k, Candidate* out);

}  // namespace spd
