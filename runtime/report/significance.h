// Statistics of tasks: means with standard errors, and whether two runs over the same items differ.
#pragma once

#include <cstdint>
#include <span>

namespace spd {

struct Estimate {
  double value = 0.0;
  double stderr_ = 0.0;  ///< standard error; NaN where one sample says nothing of it
};

/// Mean and sample standard deviation / sqrt(n), as lm-evaluation-harness gives them.
Estimate mean_of(std::span<const double> samples);
/// exp(-mean) of log-likelihoods; see bootstrap.h for its standard error.
double perplexity_of(std::span<const double> log_likelihoods);
/// Mean of independent estimates, each weighing the same.
Estimate mean_of_estimates(std::span<const Estimate> estimates);

/// plan - baseline over the same items.
struct PairedDifference {
  Estimate difference;
  double p_value = 1.0;               ///< two-sided, of no difference
  std::int64_t gained = 0, lost = 0;  ///< right with the plan alone, with the baseline alone
};

/// Of items that are right (1) or wrong (0); McNemar's exact test.
PairedDifference compare_right(std::span<const double> plan, std::span<const double> baseline);
/// Of real-valued scores; normal approximation of the mean paired difference.
PairedDifference compare_means(std::span<const double> plan, std::span<const double> baseline);

/// McNemar's exact two-sided test on the items that changed: 2 P(X <= min(gained, lost)), X ~
/// Binomial(gained + lost, 1/2), at most 1.
double mcnemar_p(std::int64_t gained, std::int64_t lost);
/// Two-sided p-value of value / stderr under the standard normal distribution.
double normal_p(const Estimate& estimate);

}  // namespace spd
