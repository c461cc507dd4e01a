// Measures on logits that several tests share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace spd {

inline std::vector<double> log_softmax(const std::vector<float>& logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(logit - top);
  std::vector<double> result;
  for (const float logit : logits) result.push_back(logit - top - std::log(sum));
  return result;
}

/// Largest |a - b| over all rows, relative to the largest |b|.
inline double relative_difference(const std::vector<std::vector<float>>& a,
                                  const std::vector<std::vector<float>>& b) {
  double difference = 0.0;
  double scale = 0.0;
  for (std::size_t row = 0; row < b.size(); ++row) {
    for (std::size_t i = 0; i < b[row].size(); ++i) {
      difference = std::max<double>(difference, std::abs(a[row][i] - b[row][i]));
      scale = std::max<double>(scale, std::abs(b[row][i]));
    }
  }
  return difference / scale;
}

inline std::int32_t argmax(const std::vector<float>& row) {
  return static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

}  // namespace spd
