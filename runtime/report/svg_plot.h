// Line plots as SVG text: what a terminal cannot show and a browser can.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace spd {

struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  ///< (x, y), in drawing order
  bool line = true;                               ///< join the points
  std::vector<std::string> labels;                ///< [points] or empty: text beside each point
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<PlotSeries> series;
};

/// A whole SVG document, axes with round numbers, a legend, no scripts and no outside references.
/// Points that are not finite are left out.
std::string to_svg(const Plot& plot);

/// Round numbers that cover [low, high], at most `most` + 1 of them, at least two.
std::vector<double> round_ticks(double low, double high, int most);

}  // namespace spd
