#include "runtime/report/significance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace spd {
namespace {

// k right of n: mean k/n, standard error sqrt(p (1 - p) / (n - 1)).
TEST(Metrics, AccuracyHasTheBinomialsStandardError) {
  struct Case {
    int right, items;
  };
  for (const auto& [right, items] : {Case{1, 2}, {3, 10}, {100, 101}, {0, 5}, {7, 7}}) {
    std::vector<double> samples(items, 0.0);
    std::fill_n(samples.begin(), right, 1.0);
    const Estimate mean = mean_of(samples);
    const double p = static_cast<double>(right) / items;
    EXPECT_NEAR(mean.value, p, 1e-12);
    EXPECT_NEAR(mean.stderr_, std::sqrt(p * (1.0 - p) / (items - 1)), 1e-12);
  }
  EXPECT_TRUE(std::isnan(mean_of(std::vector<double>{1.0}).stderr_));
}

TEST(Metrics, PerplexityIsTheGeometricMean) {
  const std::vector<double> log_likelihoods = {-std::log(2.0), -std::log(8.0)};
  EXPECT_NEAR(perplexity_of(log_likelihoods), 4.0, 1e-12);
}

TEST(Metrics, MeanOfEstimatesAddsVariances) {
  const std::vector<Estimate> estimates = {{0.2, 0.03}, {0.4, 0.04}};
  const Estimate mean = mean_of_estimates(estimates);
  EXPECT_NEAR(mean.value, 0.3, 1e-12);
  EXPECT_NEAR(mean.stderr_, 0.025, 1e-12);
}

// Sums of binomial coefficients over powers of two.
TEST(Metrics, McNemarIsExact) {
  struct Case {
    int gained, lost;
    double p;
  };
  for (const Case& c : {Case{0, 0, 1.0},
                        {1, 0, 1.0},
                        {3, 3, 1.0},
                        {5, 0, 2.0 / 32.0},
                        {1, 5, 2.0 * 7.0 / 64.0},
                        {10, 2, 2.0 * 79.0 / 4096.0},
                        {0, 60, std::pow(2.0, -59.0)}}) {
    EXPECT_NEAR(mcnemar_p(c.gained, c.lost), c.p, 1e-10) << c.gained << ", " << c.lost;
    EXPECT_DOUBLE_EQ(mcnemar_p(c.lost, c.gained), mcnemar_p(c.gained, c.lost));
  }
}

TEST(Metrics, NormalTestKnowsItsQuantiles) {
  EXPECT_NEAR(normal_p({1.959963985, 1.0}), 0.05, 1e-8);
  EXPECT_NEAR(normal_p({-2.575829304, 1.0}), 0.01, 1e-8);
  EXPECT_EQ(normal_p({0.0, 0.0}), 1.0);
}

TEST(Metrics, PairedComparisonSeesOnlyWhatChanged) {
  const std::vector<double> plan = {1, 1, 0, 0, 1, 0};
  const std::vector<double> baseline = {1, 0, 1, 0, 1, 1};
  const PairedDifference paired = compare_right(plan, baseline);
  EXPECT_EQ(paired.gained, 1);
  EXPECT_EQ(paired.lost, 2);
  EXPECT_NEAR(paired.difference.value, -1.0 / 6.0, 1e-12);
  // Differences 0, 1, -1, 0, 0, -1: sum of squares 3, of the mean 1/6.
  EXPECT_NEAR(paired.difference.stderr_, std::sqrt((3.0 - 1.0 / 6.0) / 5.0 / 6.0), 1e-12);
  EXPECT_NEAR(paired.p_value, 1.0, 1e-12);

  const std::vector<double> lower = {1.0, 2.0, 3.0};
  const std::vector<double> higher = {1.1, 2.3, 3.2};
  const PairedDifference means = compare_means(higher, lower);
  EXPECT_NEAR(means.difference.value, 0.2, 1e-12);
  EXPECT_NEAR(means.difference.stderr_, 0.1 / std::sqrt(3.0), 1e-12);
  EXPECT_NEAR(means.p_value, std::erfc(2.0 * std::sqrt(3.0) / std::sqrt(2.0)), 1e-12);
}

}  // namespace
}  // namespace spd
