#include "runtime/repair/prediction_fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace spd {
namespace {

// A matrix's row as it will be stored.
void round_row(float* row, std::int64_t count, DType dtype) {
  if (dtype == DType::i8) {
    const float scale = i8_scale(row, count);
    for (std::int64_t i = 0; i < count; ++i) row[i] = scale * f32_to_i8(row[i], scale);
    return;
  }
  std::vector<std::byte> stored(count * size_of(dtype));
  convert(row, DType::f32, stored.data(), dtype, count);
  convert(stored.data(), dtype, row, DType::f32, count);
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

void PredictionFit::solve(double ridge) {
  solution_ = fit_.solve(ridge);
  const DenseMatrix& full = solution_.coefficients;
  leading_ = symmetric_eigen(product(full, product(solution_.gram, full), true)).vectors;
}

Prediction PredictionFit::prediction(std::int64_t k, SyncLevel level) const {
  k = std::min(k, hidden_);
  Prediction prediction;
  prediction.level = level;
  prediction.mean = HostMatrix(1, hidden_);
  std::vector<double> mean = solution_.y_mean;
  if (k > 0) {
    DenseMatrix leading(k, hidden_);
    std::copy_n(leading_.values.begin(), k * hidden_, leading.values.begin());
    const DenseMatrix factors = product(leading, solution_.coefficients, false, true);  // [k, f]
    prediction.from_input = HostMatrix(k, inputs_);
    if (inner_ > 0) prediction.from_inner = HostMatrix(k, inner_);
    prediction.to_hidden = HostMatrix(hidden_, k);
    // The mean makes up for the factors as they are stored, so that their rounding costs nothing
    // of what is constant in the features.
    std::vector<double> offsets(k);
    const auto store = [&](HostMatrix& matrix, std::int64_t first) {
      for (std::int64_t i = 0; i < matrix.rows; ++i) {
        float* row = matrix.row(i);
        for (std::int64_t j = 0; j < matrix.cols; ++j) {
          row[j] = static_cast<float>(factors.at(i, first + j));
        }
        round_row(row, matrix.cols, dtype_);
        offsets[i] +=
            std::inner_product(row, row + matrix.cols, solution_.x_mean.data() + first, 0.0);
      }
    };
    store(prediction.from_input, 0);
    store(prediction.from_inner, inputs_);
    for (std::int64_t j = 0; j < hidden_; ++j) {
      float* row = prediction.to_hidden.row(j);
      for (std::int64_t i = 0; i < k; ++i) row[i] = static_cast<float>(leading_.at(i, j));
      round_row(row, k, dtype_);
      mean[j] -= std::inner_product(row, row + k, offsets.data(), 0.0);
    }
  }
  for (std::int64_t j = 0; j < hidden_; ++j) {
    prediction.mean.values[j] = static_cast<float>(mean[j]);
  }
  return prediction;
}

}  // namespace spd
