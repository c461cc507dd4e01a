#include "runtime/report/svg_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace spd {
namespace {

TEST(SvgPlot, TicksAreRoundAndCover) {
  EXPECT_THAT(round_ticks(0.0, 30.0, 7), testing::ElementsAre(0, 5, 10, 15, 20, 25, 30));
  for (const auto& [low, high] :
       {std::pair{0.0, 1.0}, {-0.3, 0.0213}, {5.0, 5.0}, {0.0, 0.0}, {-1e9, 3.0}, {1e-7, 2e-7}}) {
    const auto ticks = round_ticks(low, high, 8);
    EXPECT_GE(ticks.size(), 2u) << low;
    EXPECT_LE(ticks.size(), 10u) << low;
    EXPECT_LE(ticks.front(), low + 1e-12);
    EXPECT_GE(ticks.back(), high - 1e-12);
  }
}

TEST(SvgPlot, HoldsEverySeriesAndEscapesText) {
  const Plot plot{
      "a < b & c",
      "x",
      "y",
      {{"one", {{0, 1}, {1, 2}, {2, std::numeric_limits<double>::quiet_NaN()}}, true, {}},
       {"two", {{1, -3}}, false, {"here"}}}};
  const std::string svg = to_svg(plot);
  EXPECT_THAT(svg, testing::HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(svg, testing::HasSubstr(">one<"));
  EXPECT_THAT(svg, testing::HasSubstr(">here<"));
  EXPECT_THAT(svg, testing::Not(testing::HasSubstr("nan")));
  EXPECT_EQ(svg.find("<polyline"), svg.rfind("<polyline"));  // only "one" is joined
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
}

TEST(SvgPlot, DrawsAnEmptyPlot) { EXPECT_THAT(to_svg({}), testing::StartsWith("<svg")); }

}  // namespace
}  // namespace spd
