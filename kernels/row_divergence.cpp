#include "kernels/row_divergence.h"

#include <algorithm>
#include <cmath>

namespace spd {

RowDivergence compare_rows(const float* p, double p_log_sum_exp, const float* q,
                           double q_log_sum_exp, std::int64_t count) {
  const auto p_total = static_cast<float>(p_log_sum_exp);
  const auto q_total = static_cast<float>(q_log_sum_exp);
  RowDivergence row;
  for (std::int64_t i = 0; i < count; ++i) {
    const float log_p = p[i] - p_total;
    const float difference = log_p - (q[i] - q_total);
    row.kl += static_cast<double>(std::exp(log_p) * difference);
    row.largest = std::max(row.largest, std::abs(difference));
  }
  return row;
}

}  // namespace spd
