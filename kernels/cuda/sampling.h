// Sampling over a whole vocabulary, where the logits lie.
#pragma once

#include "kernels/cuda/logits.h"

namespace spd::cuda {

/// What a draw is keyed by: the same key and token give the same noise, wherever it is made.
struct NoiseKey {
  std::uint64_t request = 0, step = 0;
};

struct GumbelArgs {
  LogitArgs logits;
  std::int32_t first_id = 0;  ///< vocabulary id of column 0
  float scale = 1.0f;         ///< 1 / temperature
  std::uint64_t seed = 0;
  const NoiseKey* keys = nullptr;  ///< device, [rows]
};

/// out [rows]: the id of the largest logit * scale + Gumbel noise, and that sum. `found` [rows,
/// row_parts()].
void gumbel_top1(const GumbelArgs& args, Key* found, Candidate* out, const Queue& queue);

/// out [rows] = sum of e^((logit - tops[row]) * scale), in f64. `partial` [rows, row_parts()].
void sum_exp(const LogitArgs& args, const float* tops, double scale, double* partial, double* out,
             const Queue& queue);

}  // namespace spd::cuda
