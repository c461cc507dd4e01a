// The divergence of two rows of logits, on the host: what evaluations need of a vocabulary shard.
#pragma once

#include <cstdint>

namespace spd {

/// Of one row's shard. Shards combine by adding `kl` and taking the larger differences.
struct RowDivergence {
  double kl = 0.0;       ///< sum over the shard of p * (log p - log q)
  float largest = 0.0f;  ///< largest |log p - log q|
};

/// p and q: logits of `count` tokens; their log-probabilities are logit - log_sum_exp, the latter
/// taken over the whole vocabulary. Host memory.
RowDivergence compare_rows(const float* p, double p_log_sum_exp, const float* q,
                           double q_log_sum_exp, std::int64_t count);

}  // namespace spd
