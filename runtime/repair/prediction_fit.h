// Fits what a rank adds to its view behind a sync that is left out: ridge regression of what is
// missing on what the rank has at hand, cut to low rank (model/README.md).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/repair.h"
#include "runtime/repair/ridge_fit.h"

namespace spd {

/// Accumulates the normal equations in fp64, window by window, and solves them.
///
/// With features f = [norm(x), inner] and the missing sum m, both centred by their weighted means,
///   P = argmin sum_t w_t |m_t - P f_t|^2 + ridge
/// and for width k the prediction's covariance C = P G P^T (G = sum_t w_t f_t f_t^T) is projected
/// on its k leading eigenvectors V: to_hidden = V and [from_input, from_inner] = V^T P.
class PredictionFit {
 public:
  /// Features of the normed input, of the inner activations, and outputs.
  /// `dtype`: what the matrices will be stored in.
  PredictionFit(std::int64_t inputs, std::int64_t inner, std::int64_t hidden, DType dtype);

  /// Adds tokens: input [tokens, inputs] (already normed), inner [tokens, inner], missing
  /// [tokens, hidden], weight [tokens].
  void add(ConstActivations input, ConstActivations inner, ConstActivations missing,
           std::span<const double> weight);

  /// Solves for the full-rank P. Throws input Error where the data are not finite or too few.
  /// `ridge`: see RidgeFit.
  void solve(double ridge);

  /// The prediction of width k (0: the mean alone), after solve().
  Prediction prediction(std::int64_t k, SyncLevel level) const;

 private:
  std::int64_t inputs_, inner_, hidden_;
  DType dtype_;
  RidgeFit fit_;
  RidgeFit::Solution solution_;
  DenseMatrix leading_;  // [hidden, hidden]: eigenvectors as rows, by falling eigenvalue
};

}  // namespace spd
