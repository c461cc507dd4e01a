// What a plan loses on text that it was not made with, and how sure that is.
#pragma once

#include <cstdint>
#include <span>

namespace spd {

/// A mean over windows of text, each run with the plan and with every sync full.
struct PlanLoss {
  double nats = 0.0;            ///< mean rise of NLL
  double standard_error = 0.0;  ///< of the mean, from the differences of whole windows
  double lower = 0.0;           ///< one-sided bounds of the mean, see plan_loss
  double upper = 0.0;
  std::int64_t windows = 0;
};

/// Of windows of the same length: their NLLs with the plan and, in the same order, at full. Each
/// bound misses the mean of all such text with a probability of `error_rate`, windows taken as
/// independent (Student's t on the paired differences); fewer than two windows bound nothing.
PlanLoss plan_loss(std::span<const double> plan_nll, std::span<const double> full_nll,
                   double error_rate);

}  // namespace spd
