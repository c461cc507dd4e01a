// Balanced assignments against trying them all.
#include "runtime/repair/balanced_assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace spd {
namespace {

double total(const std::vector<std::vector<double>>& cost, const std::vector<int>& owner) {
  double sum = 0.0;
  for (std::size_t item = 0; item < owner.size(); ++item) sum += cost[owner[item]][item];
  return sum;
}

TEST(Assignment, IsTheBestOfAll) {
  for (const int ranks : {1, 2, 3, 4}) {
    for (unsigned seed = 0; seed < 10; ++seed) {
      std::mt19937 random(seed);
      std::uniform_real_distribution<double> uniform(0.0, 1.0);
      const int items = 7;
      std::vector<std::vector<double>> cost(ranks, std::vector<double>(items));
      for (auto& row : cost) {
        for (double& value : row) value = uniform(random);
      }
      std::vector<int> owner(items);
      for (int i = 0; i < items; ++i) owner[i] = i * ranks / items;
      std::vector<int> tried = owner;  // sorted: permutations of it are all with these counts
      double best = std::numeric_limits<double>::infinity();
      do {
        best = std::min(best, total(cost, tried));
      } while (std::next_permutation(tried.begin(), tried.end()));
      const auto found = assign_balanced(cost, owner);
      EXPECT_NEAR(total(cost, found), best, 1e-12) << ranks << " ranks, seed " << seed;
      for (int rank = 0; rank < ranks; ++rank) {
        EXPECT_EQ(std::count(found.begin(), found.end(), rank),
                  std::count(owner.begin(), owner.end(), rank));
      }
    }
  }
}

TEST(Assignment, LeavesTiesAlone) {
  const std::vector<int> owner = {0, 0, 1, 1};
  EXPECT_EQ(assign_balanced({{1, 1, 1, 1}, {1, 1, 1, 1}}, owner), owner);
}

}  // namespace
}  // namespace spd
