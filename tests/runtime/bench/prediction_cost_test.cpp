#include "runtime/bench/prediction_cost.h"

#include <gtest/gtest.h>

namespace spd {
namespace {

// Repetitions that took `products` seconds in each of the products around attention, and `rest`
// seconds in the MLP.
TestResult took(const char* variant, const char* test, const std::vector<double>& products,
                double rest = 0.0) {
  TestResult result;
  result.variant = variant;
  result.test = test;
  for (const double seconds : products) {
    WorkSeconds work{};
    work[static_cast<std::size_t>(Work::qkv)] = work[static_cast<std::size_t>(Work::o_proj)] =
        seconds;
    work[static_cast<std::size_t>(Work::mlp)] = rest;
    work[static_cast<std::size_t>(Work::sync_attn)] = 9.0;
    result.work_s.push_back(work);
  }
  return result;
}

const PredictionUse kAttn{.attn = true, .mlp = false, .share = 0.04};

TEST(PredictionCost, IsTheMedianDifferenceOfRepetitionsInTurn) {
  // The machine becomes slower by half: differences in turn hardly notice, medians would.
  const auto costs =
      prediction_costs({took("full", "pp8", {1, 1, 1, 1, 1}),
                        took("plan", "pp8", {0.0525, 0.052, 0.053, 0.0795, 0.079}),
                        took("plan", "tg4", {0.2, 0.2, 0.2, 0.2, 0.2}),
                        took(kUnpredicted, "pp8", {0.05, 0.05, 0.05, 0.075, 0.0755})},
                       kAttn);
  ASSERT_EQ(costs.size(), 1U);
  EXPECT_EQ(costs[0].test, "pp8");
  EXPECT_NEAR(costs[0].cost_ms, 6.0, 1e-9);
  EXPECT_NEAR(costs[0].low_ms, 5.0, 1e-9);
  EXPECT_NEAR(costs[0].high_ms, 7.0, 1e-9);
  EXPECT_NEAR(costs[0].without_ms, 100.0, 1e-9);
  EXPECT_NEAR(costs[0].times_share(), 1.5, 1e-9);
}

TEST(PredictionCost, IsLookedForWhereItArises) {
  // A slower MLP is none of the predictions' making, but its time is the block's.
  const std::vector<TestResult> results = {took("plan", "pp8", {0.1}, 0.9),
                                           took(kUnpredicted, "pp8", {0.09}, 0.8)};
  const auto attn = prediction_costs(results, kAttn);
  EXPECT_NEAR(attn.at(0).cost_ms, 20.0, 1e-9);
  EXPECT_NEAR(attn.at(0).without_ms, 980.0, 1e-9);
  const auto both = prediction_costs(results, {.attn = true, .mlp = true, .share = 0.04});
  EXPECT_NEAR(both.at(0).cost_ms, 120.0, 1e-9);
}

}  // namespace
}  // namespace spd
