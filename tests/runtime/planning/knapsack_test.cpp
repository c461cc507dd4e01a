// The knapsack against every combination there is, and where that is too many, against a dynamic
// programme over whole numbers.
#include "runtime/planning/knapsack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace spd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

KnapsackItems random_items(std::mt19937& random, std::size_t items, std::size_t most_choices) {
  std::uniform_real_distribution<double> real(0.0, 1.0);
  KnapsackItems result(items);
  for (auto& choices : result) {
    const std::size_t count = 1 + random() % most_choices;
    for (std::size_t i = 0; i < count; ++i) {
      // Ties and zeros are what sensitivity files are full of.
      choices.push_back({std::floor(real(random) * 6.0) * 10.0,
                         random() % 4 == 0 ? 0.0 : std::floor(real(random) * 20.0) / 100.0});
    }
  }
  return result;
}

// The least cost over all combinations.
double brute_force(const KnapsackItems& items, double budget, std::size_t item = 0,
                   double cost = 0.0, double weight = 0.0) {
  if (item == items.size()) return weight <= budget * (1.0 + 1e-12) ? cost : kInfinity;
  double best = kInfinity;
  for (const auto& choice : items[item]) {
    best = std::min(
        best, brute_force(items, budget, item + 1, cost + choice.cost, weight + choice.weight));
  }
  return best;
}

void expect_consistent(const KnapsackItems& items, const KnapsackSolution& solution,
                       double budget) {
  double cost = 0.0;
  double weight = 0.0;
  ASSERT_EQ(solution.chosen.size(), items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    cost += items[i].at(solution.chosen[i]).cost;
    weight += items[i].at(solution.chosen[i]).weight;
  }
  EXPECT_NEAR(solution.cost, cost, 1e-9);
  EXPECT_NEAR(solution.weight, weight, 1e-9);
  EXPECT_LE(weight, budget + 1e-9);
}

TEST(Knapsack, MatchesBruteForce) {
  std::mt19937 random(7);
  int infeasible = 0;
  for (int round = 0; round < 600; ++round) {
    const auto items = random_items(random, 1 + random() % 7, 5);
    const double budget = static_cast<double>(random() % 60) / 100.0;
    const double expected = brute_force(items, budget);
    const auto solution = solve_knapsack(items, budget);
    if (expected == kInfinity) {
      ++infeasible;
      EXPECT_FALSE(solution) << round;
      EXPECT_GT(least_weight(items), budget);
      continue;
    }
    ASSERT_TRUE(solution) << round;
    EXPECT_NEAR(solution->cost, expected, 1e-9) << round;
    EXPECT_NEAR(solution->cost_bound, expected, 1e-9) << round;
    expect_consistent(items, *solution, budget);
  }
  EXPECT_GT(infeasible, 10);  // both outcomes were met
}

// A model of 80 blocks: 160 items, weights in whole steps, so that a table over weights is exact.
TEST(Knapsack, MatchesDynamicProgrammeOnLargeInstances) {
  std::mt19937 random(11);
  for (int round = 0; round < 3; ++round) {
    constexpr int kSteps = 2000;
    KnapsackItems items(160);
    for (auto& choices : items) {
      const double base = 20.0 + static_cast<double>(random() % 30);
      const double sensitivity = std::exp(static_cast<double>(random() % 600) / 100.0);
      for (const double share : {1.0, 0.6, 0.45, 0.3, 0.0}) {
        choices.push_back({base * share, std::floor(sensitivity * (1.0 - share))});
      }
    }
    std::vector<double> least(kSteps + 1, 0.0);
    for (const auto& choices : items) {
      std::vector<double> next(kSteps + 1, kInfinity);
      for (int weight = 0; weight <= kSteps; ++weight) {
        for (const auto& choice : choices) {
          const int from = weight - static_cast<int>(choice.weight);
          if (from >= 0) next[weight] = std::min(next[weight], least[from] + choice.cost);
        }
      }
      least = std::move(next);
    }
    for (const int budget : {0, 3, 50, 700, kSteps}) {
      const auto solution = solve_knapsack(items, budget);
      ASSERT_TRUE(solution);
      EXPECT_NEAR(solution->cost, least[budget], 1e-6) << budget;
      expect_consistent(items, *solution, budget);
    }
  }
}

TEST(Knapsack, SaysHowFarItIsOffWhenCutShort) {
  std::mt19937 random(13);
  std::uniform_real_distribution<double> real(0.0, 1.0);
  KnapsackItems items(40);
  for (auto& choices : items) {
    for (int i = 0; i < 4; ++i) choices.push_back({real(random), real(random)});
  }
  const auto exact = solve_knapsack(items, 12.0);
  const auto cut = solve_knapsack(items, 12.0, 4);
  ASSERT_TRUE(exact && cut);
  EXPECT_LE(exact->cost, cut->cost + 1e-12);
  EXPECT_LE(cut->cost_bound, exact->cost + 1e-12);
  expect_consistent(items, *cut, 12.0);
}

TEST(Knapsack, RefusesWhatMakesNoSense) {
  EXPECT_ANY_THROW(solve_knapsack({{}}, 1.0));
  EXPECT_ANY_THROW(solve_knapsack({{{-1.0, 0.0}}}, 1.0));
  EXPECT_ANY_THROW(solve_knapsack({{{1.0, std::nan("")}}}, 1.0));
}

}  // namespace
}  // namespace spd
