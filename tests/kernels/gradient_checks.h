// Finite differences, and the like, for tests of backward operators.
#pragma once

#include <functional>
#include <vector>

#include "tests/kernels/operators_fixture.h"

namespace spd::test {

inline constexpr int kThreads[] = {1, 2};

/// Sum over all elements of y * direction: a loss whose gradient by y is `direction`.
inline double inner_product(Matrix& y, Matrix& direction) {
  double sum = 0.0;
  for (std::int64_t r = 0; r < y.view().rows; ++r) {
    for (std::int64_t c = 0; c < y.view().cols; ++c) {
      sum += static_cast<double>(y.at(r, c)) * direction.at(r, c);
    }
  }
  return sum;
}

/// d loss / d value, where loss() reads the value.
inline float slope(float& value, const std::function<double()>& loss) {
  constexpr float kStep = 4e-3f;
  const float kept = value;
  value = kept + kStep;
  const double above = loss();
  const float up = value;
  value = kept - kStep;
  const double below = loss();
  const float down = value;
  value = kept;
  return static_cast<float>((above - below) / (static_cast<double>(up) - down));
}

/// Of every `step`-th row, zeros in between.
inline Matrix slopes(Matrix& x, const std::function<double()>& loss, std::int64_t step = 1) {
  Matrix result(x.view().rows, x.view().cols);
  for (std::int64_t r = 0; r < x.view().rows; ++r) {
    for (std::int64_t c = 0; c < x.view().cols; ++c) result.at(r, c) = 0.0f;
  }
  for (std::int64_t r = 0; r < x.view().rows; r += step) {
    for (std::int64_t c = 0; c < x.view().cols; ++c) result.at(r, c) = slope(x.at(r, c), loss);
  }
  return result;
}

inline Matrix slopes(std::vector<float>& x, const std::function<double()>& loss) {
  Matrix result(1, static_cast<std::int64_t>(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    result.at(0, static_cast<std::int64_t>(i)) = slope(x[i], loss);
  }
  return result;
}

inline Matrix as_row(const std::vector<float>& values) {
  Matrix row(1, static_cast<std::int64_t>(values.size()));
  std::copy(values.begin(), values.end(), row.view().data);
  return row;
}

}  // namespace spd::test
