#include "runtime/repair/ridge_fit.h"

#include <cmath>
#include <numeric>

#include "kernels/device/error.h"

namespace spd {

RidgeFit::RidgeFit(std::vector<std::int64_t> groups, std::int64_t outputs)
    : groups_(std::move(groups)) {
  const std::int64_t width = std::accumulate(groups_.begin(), groups_.end(), std::int64_t{1});
  gram_ = DenseMatrix(width, width);
  cross_ = DenseMatrix(width, outputs);
}

void RidgeFit::add(const std::vector<ConstActivations>& x, ConstActivations y,
                   std::span<const double> weight) {
  const std::int64_t width = gram_.rows, outputs = cross_.cols;
  std::vector<float> features(y.rows * width), targets(y.rows * outputs);
  for (std::int64_t t = 0; t < y.rows; ++t) {
    const float scale = weight.empty() ? 1.0f : static_cast<float>(std::sqrt(weight[t]));
    float* next = features.data() + t * width;
    for (const ConstActivations& group : x) {
      const float* row = group.row(t);
      for (std::int64_t i = 0; i < group.cols; ++i) *next++ = scale * row[i];
    }
    *next = scale;
    const float* row = y.row(t);
    for (std::int64_t i = 0; i < outputs; ++i) targets[t * outputs + i] = scale * row[i];
  }
  add_gram(features.data(), y.rows, gram_);
  add_cross(features.data(), targets.data(), y.rows, cross_);
}

RidgeFit::Solution RidgeFit::solve(double ridge) const {
  const std::int64_t f = gram_.rows - 1, outputs = cross_.cols;
  const double total = gram_.at(f, f);
  double sum = 0.0;  // not finite where any entry is not
  for (const double value : cross_.values) sum += value;
  for (std::int64_t i = 0; i <= f; ++i) sum += gram_.at(i, i);
  if (!(total > 0.0) || !std::isfinite(sum)) {
    throw Error(ErrorCode::input, "the calibration data to fit to hold values that are not finite",
                "check the model's weights for NaN and infinities");
  }
  Solution solution;
  solution.x_mean.resize(f);
  solution.y_mean.resize(outputs);
  for (std::int64_t i = 0; i < f; ++i) solution.x_mean[i] = gram_.at(i, f) / total;
  for (std::int64_t j = 0; j < outputs; ++j) solution.y_mean[j] = cross_.at(f, j) / total;
  solution.gram = DenseMatrix(f, f);
  DenseMatrix cross(f, outputs);
  for (std::int64_t i = 0; i < f; ++i) {
    for (std::int64_t j = i; j < f; ++j) {
      solution.gram.at(i, j) = gram_.at(i, j) - total * solution.x_mean[i] * solution.x_mean[j];
    }
    for (std::int64_t j = 0; j < outputs; ++j) {
      cross.at(i, j) = cross_.at(i, j) - total * solution.x_mean[i] * solution.y_mean[j];
    }
  }
  mirror_upper(solution.gram);
  DenseMatrix ridged = solution.gram;
  std::int64_t first = 0;
  for (const std::int64_t group : groups_) {
    double trace = 0.0;
    for (std::int64_t i = first; i < first + group; ++i) trace += solution.gram.at(i, i);
    for (std::int64_t i = first; i < first + group; ++i) {
      ridged.at(i, i) += ridge * trace / static_cast<double>(group);
    }
    first += group;
  }
  solution.coefficients = solve_positive(ridged, cross);
  return solution;
}

}  // namespace spd
