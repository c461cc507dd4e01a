// Backward work on rows: activations, norms, losses, and the optimiser's step.
#pragma once

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/rows.h"
#include "kernels/gradients.h"

namespace spd::cuda {

/// dpre from dy; `extent` is dy's. dpre may be pre.
void activation_gradient(Epilogue epilogue, Rows<const float> pre, Rows<const float> dy,
                         Rows<float> dpre, Extent extent, const Queue& queue);
/// sums[column] += sum over rows, in their order.
void add_columns(Rows<const float> dy, float* sums, Extent extent, const Queue& queue);

/// Mean and 1 / deviation of a row, as a norm takes them.
struct Moments {
  float mean = 0.0f, scale = 0.0f;
};

/// Rows of `cols` features, `parts` of them side by side in each row of memory: of a layer's norm
/// one, of heads' norms as many as there are heads.
struct NormRows {
  Rows<const float> x, dy;
  std::int64_t rows = 0;
  int parts = 1, cols = 0;
  Norm norm;
};
/// moments [rows * parts]
void norm_moments(const NormRows& args, Moments* moments, const Queue& queue);
/// dweight, dbias [cols] +=; dbias may be null.
void norm_parameters(const NormRows& args, const Moments* moments, float* dweight, float* dbias,
                     const Queue& queue);
/// dx (+)=; dx may be dy.
void norm_input(const NormRows& args, const Moments* moments, bool accumulate, Rows<float> dx,
                const Queue& queue);

/// Turns pairs of each head back: dqkv [rows, heads * head_dim and more].
struct Unrotation {
  Rows<float> dqkv;
  const std::int32_t* positions = nullptr;  ///< device, [rows]; below 0: not of a sequence
  std::int64_t rows = 0;
  int heads = 0, head_dim = 0, rotary_dim = 0;
  const float* cos_sin = nullptr;
};
void unrotate(const Unrotation& args, const Queue& queue);

/// See DifferenceArgs and DivergenceGradientArgs. `sums` [rows], f64: the rows' parts of the loss.
void difference(const DifferenceArgs& args, double* sums, const Queue& queue);
/// `log_sum_exps` [2, rows], device: the teacher's, then the student's.
void divergence(const DivergenceGradientArgs& args, const float* log_sum_exps, double* sums,
                const Queue& queue);

inline constexpr std::int64_t kSumChunk = 16 * 1024;
/// sums [count / kSumChunk, rounded up]
void sum_of_squares(const float* values, std::int64_t count, double* sums, const Queue& queue);
void adam(const AdamArgs& args, const Queue& queue);

}  // namespace spd::cuda
