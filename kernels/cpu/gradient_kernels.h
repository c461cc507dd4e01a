// Vectorised backward work on single rows, dispatched at run time to the best instruction set.
#pragma once

#include <cstddef>

#include "kernels/gradients.h"

namespace spd {

/// Mean and 1 / deviation of a row, as a norm takes them.
struct RowMoments {
  float mean = 0.0f;   ///< 0 for RMS norms
  float scale = 0.0f;  ///< 1 / sqrt(var + eps)
};
RowMoments row_moments(const float* x, std::size_t count, const Norm& norm);

/// dx[count] (+)= the norm's gradient by its input; dx may be dy.
void norm_gradient_row(const float* x, const float* dy, std::size_t count, const Norm& norm,
                       const RowMoments& moments, bool accumulate, float* dx);

/// dgate[count] = the epilogue's gradient by its argument; where gated also dup. Outputs may be
/// inputs.
void activation_gradient_row(Epilogue epilogue, const float* pre, const float* up, const float* dy,
                             std::size_t count, float* dpre, float* dup);

/// Turns the pairs (head[i], head[i + half]) back: the transpose of rotate_head.
void rotate_head_back(float* head, const float* cosines, const float* sines, std::size_t half);

/// Gradient of the scores from that of the probabilities: dp[i] = p[i] * (dp[i] - dot) * scale.
void softmax_gradient_row(const float* p, float* dp, std::size_t count, float dot, float scale);

float dot_row(const float* a, const float* b, std::size_t count);
/// y *= factor
void scale_row(float factor, std::size_t count, float* y);
/// diff = scale * (a - b); returns the sum of (a - b)^2.
double difference_row(const float* a, const float* b, std::size_t count, float scale, float* diff);
double sum_of_squares_row(const float* x, std::size_t count);

/// One row of DivergenceGradientArgs. Returns sum of p * (log p - log q).
double divergence_row(const float* teacher, const float* student, float teacher_log_sum_exp,
                      float student_log_sum_exp, std::size_t count, float scale, float* dstudent);

/// Parameters [begin, end) of AdamArgs.
void adam_range(const AdamArgs& args, std::size_t begin, std::size_t end);

}  // namespace spd
