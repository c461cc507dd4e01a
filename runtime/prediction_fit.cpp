#include "runtime/prediction_fit.h"

#include <algorithm>
#include <cmath>

namespace spd {
namespace {

float rounded(float value, DType dtype) {
  if (dtype == DType::f32) return value;
  std::uint16_t stored = 0;
  convert(&value, DType::f32, &stored, dtype, 1);
  convert(&stored, dtype, &value, DType::f32, 1);
  return value;
}

}  // namespace

PredictionFit::PredictionFit(std::int64_t inputs, std::int64_t inner, std::int64_t hidden,
                             DType dtype)
    : inputs_(inputs),
      inner_(inner),
      hidden_(hidden),
      dtype_(dtype),
      fit_(inner > 0 ? std::vector{inputs, inner} : std::vector{inputs}, hidden) {}

void PredictionFit::add(ConstActivations input, ConstActivations inner, ConstActivations missing,
                        std::span<const double> weight) {
  std::vector<ConstActivations> features = {input};
  if (inner_ > 0) features.push_back(inner);
  fit_.add(features, missing, weight);
}

void PredictionFit::solve(double ridge, const DenseMatrix& metric) {
  solution_ = fit_.solve(ridge);
  const DenseMatrix& full = solution_.coefficients;
  const DenseMatrix covariance = product(full, product(solution_.gram, full), true);
  if (metric.rows == 0) {
    from_all_ = symmetric_eigen(covariance).vectors;
    to_view_ = from_all_;
    return;
  }
  // The symmetric root of the metric and its inverse.
  const Eigen scales = symmetric_eigen(metric);
  DenseMatrix forward(hidden_, hidden_), backward(hidden_, hidden_);
  for (std::int64_t i = 0; i < hidden_; ++i) {
    const double root = std::sqrt(std::max(scales.values[i], 1e-9 * scales.values[0]));
    for (std::int64_t j = 0; j < hidden_; ++j) {
      forward.at(i, j) = root * scales.vectors.at(i, j);
      backward.at(i, j) = scales.vectors.at(i, j) / root;
    }
  }
  const DenseMatrix there = product(scales.vectors, forward, true);
  const DenseMatrix back = product(scales.vectors, backward, true);
  const DenseMatrix vectors = symmetric_eigen(product(there, product(covariance, there))).vectors;
  from_all_ = product(vectors, there);
  to_view_ = product(vectors, back);
}

Prediction PredictionFit::prediction(std::int64_t k, SyncLevel level) const {
  k = std::min(k, hidden_);
  Prediction prediction;
  prediction.level = level;
  prediction.mean = HostMatrix(1, hidden_);
  std::vector<double> mean = solution_.y_mean;
  if (k > 0) {
    DenseMatrix leading(k, hidden_);
    std::copy_n(from_all_.values.begin(), k * hidden_, leading.values.begin());
    const DenseMatrix factors = product(leading, solution_.coefficients, false, true);  // [k, f]
    prediction.from_input = HostMatrix(k, inputs_);
    if (inner_ > 0) prediction.from_inner = HostMatrix(k, inner_);
    prediction.to_hidden = HostMatrix(hidden_, k);
    // The mean makes up for the factors as they are stored, so that their rounding costs nothing
    // of what is constant in the features.
    for (std::int64_t i = 0; i < k; ++i) {
      double offset = 0.0;
      for (std::int64_t j = 0; j < inputs_ + inner_; ++j) {
        const float stored = rounded(static_cast<float>(factors.at(i, j)), dtype_);
        offset += stored * solution_.x_mean[j];
        (j < inputs_ ? prediction.from_input.row(i)[j]
                     : prediction.from_inner.row(i)[j - inputs_]) = stored;
      }
      for (std::int64_t j = 0; j < hidden_; ++j) {
        const float stored = rounded(static_cast<float>(to_view_.at(i, j)), dtype_);
        prediction.to_hidden.row(j)[i] = stored;
        mean[j] -= stored * offset;
      }
    }
  }
  for (std::int64_t j = 0; j < hidden_; ++j) {
    prediction.mean.values[j] = static_cast<float>(mean[j]);
  }
  return prediction;
}

}  // namespace spd
