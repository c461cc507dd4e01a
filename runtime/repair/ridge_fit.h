// Weighted ridge regression with an intercept, on normal equations in fp64.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/dense_algebra.h"
#include "kernels/matrix_view.h"

namespace spd {

/// Fits y ~ coefficients^T x + intercept. Features come in groups, e.g. the normed input and the
/// heads' outputs, each a matrix of its own.
class RidgeFit {
 public:
  RidgeFit(std::vector<std::int64_t> groups, std::int64_t outputs);

  /// Adds tokens: x one [tokens, group] each, y [tokens, outputs], weight [tokens] (empty: ones).
  void add(const std::vector<ConstActivations>& x, ConstActivations y,
           std::span<const double> weight = {});

  /// What has been added up, for sums over ranks: gram [features + 1]^2 (upper triangle) and cross
  /// [features + 1, outputs], the last feature being 1.
  DenseMatrix& gram() { return gram_; }
  DenseMatrix& cross() { return cross_; }

  /// Minimises sum_t w_t |y_t - fit(x_t)|^2 + sum_g ridge m_g |coefficients of group g|^2, m_g
  /// being the mean over group g's features of their weighted squared deviation from their mean.
  /// Throws input Error where the data are not finite or do not determine a solution.
  struct Solution {
    DenseMatrix coefficients;    // [features, outputs]
    std::vector<double> x_mean;  // [features]
    std::vector<double> y_mean;  // [outputs]
    DenseMatrix gram;            // [features, features], centred
  };
  Solution solve(double ridge) const;

 private:
  std::vector<std::int64_t> groups_;
  DenseMatrix gram_, cross_;
};

}  // namespace spd
