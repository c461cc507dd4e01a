// What sampling asks of logits: the largest, and sums of exponentials.
#pragma once

#include "kernels/cuda/queue.h"
#include "kernels/cuda/rows.h"

namespace spd::cuda {

struct LogitArgs {
  Rows<const float> logits;  ///< [rows, cols]
  std::int64_t rows = 0;
  int cols = 0;
};

/// Candidates that stay between kernels: orders like the logit, then like the smaller index.
using Key = unsigned long long;

/// Blocks that share a row.
int row_parts(std::int64_t rows, int cols, int multiprocessors);

/// out [rows, k]: the largest first, ties to the smaller index, NaN last. `keys`: key_count() of
/// them.
void top_k(const LogitArgs& args, int k, Key* keys, Candidate* out, const Queue& queue);
std::int64_t key_count(std::int64_t rows, int cols, int k, int multiprocessors);

/// out [rows]. `partial` [rows, row_parts()].
void log_sum_exp(const LogitArgs& args, LogSumExp* partial, LogSumExp* out, const Queue& queue);

}  // namespace spd::cuda
