#include "runtime/planning/plan_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace spd {
namespace {

// Student's t from tables: 2.131847 (4 degrees of freedom, 0.05), 3.746947 (4, 0.01).
TEST(PlanLoss, BoundsPairedDifferencesByStudentsT) {
  const std::vector<double> full{3.0, 2.0, 5.0, 4.0, 1.0};
  const std::vector<double> plan{3.1, 2.0, 5.3, 4.2, 1.4};  // differences 0.1, 0, 0.3, 0.2, 0.4
  const double stderr_ = std::sqrt(0.1 / 4.0) / std::sqrt(5.0);
  const PlanLoss loss = plan_loss(plan, full, 0.05);
  EXPECT_EQ(loss.windows, 5);
  EXPECT_NEAR(loss.nats, 0.2, 1e-12);
  EXPECT_NEAR(loss.standard_error, stderr_, 1e-12);
  EXPECT_NEAR(loss.upper, 0.2 + 2.131847 * stderr_, 1e-6);
  EXPECT_NEAR(loss.lower, 0.2 - 2.131847 * stderr_, 1e-6);
  EXPECT_NEAR(plan_loss(plan, full, 0.01).upper, 0.2 + 3.746947 * stderr_, 1e-6);
}

TEST(PlanLoss, OneWindowBoundsNothing) {
  const std::vector<double> full{3.0};
  const PlanLoss loss = plan_loss(full, full, 0.05);
  EXPECT_EQ(loss.nats, 0.0);
  EXPECT_TRUE(std::isinf(loss.upper));
}

// What the bound is for: over many texts the true mean is above it as often as was asked for.
TEST(PlanLoss, MissesTheMeanAsOftenAsItSays) {
  std::mt19937 random(7);
  std::normal_distribution<double> rise(0.01, 0.02);
  constexpr int kTexts = 4000;
  int above = 0;
  for (int text = 0; text < kTexts; ++text) {
    std::vector<double> full(12, 3.0);
    std::vector<double> plan(12);
    for (double& nll : plan) nll = 3.0 + rise(random);
    if (plan_loss(plan, full, 0.05).upper < 0.01) ++above;
  }
  EXPECT_NEAR(static_cast<double>(above) / kTexts, 0.05, 0.012);
}

}  // namespace
}  // namespace spd
