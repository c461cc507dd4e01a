#include "runtime/report/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace spd {
namespace {

TEST(Statistics, QuantilesLieBetweenSamples) {
  EXPECT_EQ(quantile({}, 0.5), 0.0);
  EXPECT_EQ(quantile({3.0}, 0.25), 3.0);
  EXPECT_NEAR(quantile({4.0, 1.0, 2.0}, 0.25), 1.5, 1e-12);
  EXPECT_EQ(quantile({4.0, 1.0, 2.0}, 1.0), 4.0);
}

// Ranks as tables of the sign test have them for 95 %.
TEST(Statistics, TheMediansIntervalIsThatOfTheSignTest) {
  struct Case {
    int samples;
    double low, high;
  };
  for (const Case& expected : {Case{1, 1, 1}, Case{5, 1, 5}, Case{6, 1, 6}, Case{9, 2, 8},
                               Case{20, 6, 15}, Case{21, 6, 16}, Case{100, 40, 61}}) {
    std::vector<double> samples(expected.samples);
    std::iota(samples.rbegin(), samples.rend(), 1.0);  // from the largest to 1
    const Interval interval = median_interval(samples);
    EXPECT_EQ(interval.low, expected.low) << expected.samples;
    EXPECT_EQ(interval.high, expected.high) << expected.samples;
  }
  // So many that the binomial's parts are too small for a double.
  const Interval wide = median_interval(std::vector<double>(5000, 2.0));
  EXPECT_EQ(wide.low, 2.0);
  EXPECT_EQ(wide.high, 2.0);
  EXPECT_EQ(median_interval({}).high, 0.0);
}

TEST(Statistics, AFigureIsShownWithTheErrorThatCanBeTold) {
  const double nan = std::nan("");
  EXPECT_EQ(with_error(1.234, 0.056, 2), "1.23 ±0.06");
  EXPECT_EQ(with_error(1.234, 0.056, 2, true), "+1.23 ±0.06");
  EXPECT_EQ(with_error(-0.5, nan, 4, true), "-0.5000 ±n/a");
  EXPECT_EQ(with_error(nan, nan, 2), "n/a");
  EXPECT_EQ(with_error(std::exp(1e9), nan, 2), "n/a");
}

}  // namespace
}  // namespace spd
