#include "runtime/report/significance.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace spd {
namespace {

std::vector<double> differences(std::span<const double> plan, std::span<const double> baseline) {
  std::vector<double> result;
  for (std::size_t i = 0; i < plan.size(); ++i) result.push_back(plan[i] - baseline[i]);
  return result;
}

}  // namespace

Estimate mean_of(std::span<const double> samples) {
  if (samples.empty()) return {};
  const auto count = static_cast<double>(samples.size());
  Estimate mean;
  for (const double sample : samples) mean.value += sample / count;
  double squares = 0.0;
  for (const double sample : samples) {
    squares += (sample - mean.value) * (sample - mean.value);
  }
  mean.stderr_ = samples.size() > 1 ? std::sqrt(squares / (count - 1.0) / count)
                                    : std::numeric_limits<double>::quiet_NaN();
  return mean;
}

double perplexity_of(std::span<const double> log_likelihoods) {
  return std::exp(-mean_of(log_likelihoods).value);
}

Estimate mean_of_estimates(std::span<const Estimate> estimates) {
  Estimate mean;
  double squares = 0.0;
  for (const Estimate& estimate : estimates) {
    mean.value += estimate.value / static_cast<double>(estimates.size());
    squares += estimate.stderr_ * estimate.stderr_;
  }
  if (!estimates.empty()) mean.stderr_ = std::sqrt(squares) / static_cast<double>(estimates.size());
  return mean;
}

double mcnemar_p(std::int64_t gained, std::int64_t lost) {
  const std::int64_t changed = gained + lost;
  const auto n = static_cast<double>(changed);
  double p = 0.0;
  for (std::int64_t k = 0; k <= std::min(gained, lost); ++k) {
    const auto x = static_cast<double>(k);
    p += std::exp(std::lgamma(n + 1.0) - std::lgamma(x + 1.0) - std::lgamma(n - x + 1.0) -
                  n * std::log(2.0));
  }
  return std::min(1.0, 2.0 * p);
}

double normal_p(const Estimate& estimate) {
  if (estimate.value == 0.0) return 1.0;
  return std::erfc(std::abs(estimate.value / estimate.stderr_) / std::sqrt(2.0));
}

PairedDifference compare_right(std::span<const double> plan, std::span<const double> baseline) {
  PairedDifference paired;
  const auto changes = differences(plan, baseline);
  paired.difference = mean_of(changes);
  paired.gained = std::count_if(changes.begin(), changes.end(), [](double d) { return d > 0.0; });
  paired.lost = std::count_if(changes.begin(), changes.end(), [](double d) { return d < 0.0; });
  paired.p_value = mcnemar_p(paired.gained, paired.lost);
  return paired;
}

PairedDifference compare_means(std::span<const double> plan, std::span<const double> baseline) {
  PairedDifference paired;
  paired.difference = mean_of(differences(plan, baseline));
  paired.p_value = normal_p(paired.difference);
  return paired;
}

}  // namespace spd
