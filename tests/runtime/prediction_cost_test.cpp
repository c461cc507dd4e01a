#include "runtime/prediction_cost.h"

#include <gtest/gtest.h>

namespace spd {
namespace {

TestResult blocks_took(const char* variant, const char* test, std::vector<double> seconds) {
  TestResult result;
  result.variant = variant;
  result.test = test;
  result.block_s = std::move(seconds);
  return result;
}

TEST(PredictionCost, IsTheMedianDifferenceOfRepetitionsInTurn) {
  // The machine becomes slower by half: differences in turn hardly notice, medians would.
  const auto costs =
      prediction_costs({blocks_took("full", "pp8", {1, 1, 1, 1, 1}),
                        blocks_took("plan", "pp8", {0.105, 0.104, 0.106, 0.159, 0.158}),
                        blocks_took("plan", "tg4", {0.2, 0.2, 0.2, 0.2, 0.2}),
                        blocks_took(kUnpredicted, "pp8", {0.100, 0.100, 0.100, 0.150, 0.151})},
                       0.04);
  ASSERT_EQ(costs.size(), 1U);
  EXPECT_EQ(costs[0].test, "pp8");
  EXPECT_NEAR(costs[0].cost_ms, 6.0, 1e-9);
  EXPECT_NEAR(costs[0].low_ms, 5.0, 1e-9);
  EXPECT_NEAR(costs[0].high_ms, 7.0, 1e-9);
  EXPECT_NEAR(costs[0].without_ms, 100.0, 1e-9);
  EXPECT_NEAR(costs[0].times_share(), 1.5, 1e-9);
}

TEST(PredictionCost, QuantilesLieBetweenSamples) {
  EXPECT_EQ(quantile({}, 0.5), 0.0);
  EXPECT_EQ(quantile({3.0}, 0.25), 3.0);
  EXPECT_NEAR(quantile({4.0, 1.0, 2.0}, 0.25), 1.5, 1e-12);
  EXPECT_EQ(quantile({4.0, 1.0, 2.0}, 1.0), 4.0);
}

}  // namespace
}  // namespace spd
