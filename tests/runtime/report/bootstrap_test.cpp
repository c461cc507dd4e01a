#include "runtime/report/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <vector>

namespace spd {
namespace {

// Python: random.Random(0).random() twice, random.Random(99).random().
TEST(PythonRandom, DrawsAsPythonDoes) {
  PythonRandom first(0);
  EXPECT_DOUBLE_EQ(first.next(), 0.8444218515250481);
  EXPECT_DOUBLE_EQ(first.next(), 0.7579544029403025);
  EXPECT_DOUBLE_EQ(PythonRandom(99).next(), 0.40397807494366633);
}

// lm_eval.api.metrics.bootstrap_stderr(perplexity, xs, iters) of Python 3.11.
TEST(Bootstrap, IsTheHarnesss) {
  std::vector<double> one;
  std::vector<double> other;
  for (int i = 0; i < 7; ++i) {
    one.push_back(-((i * 37) % 101) / 20.0);
    other.push_back(-((i * 53) % 97) / 20.0);
  }
  const std::vector<std::span<const double>> sides = {one, other};
  const auto few = bootstrap_perplexity_stderr(sides, 100);
  EXPECT_NEAR(few.at(0), 4.387692492368177, 1e-9);
  EXPECT_NEAR(few.at(1), 2.89969090261099, 1e-9);
  const auto many = bootstrap_perplexity_stderr(sides, kHarnessResamples);
  EXPECT_NEAR(many.at(0), 4.961646360526932, 1e-9);
  EXPECT_NEAR(many.at(1), 3.2025752781002206, 1e-9);
}

TEST(Bootstrap, OfNothingIsNothing) {
  const std::vector<double> none;
  const std::vector<std::span<const double>> sides = {none};
  EXPECT_TRUE(std::isnan(bootstrap_perplexity_stderr(sides, 100).at(0)));
}

}  // namespace
}  // namespace spd
