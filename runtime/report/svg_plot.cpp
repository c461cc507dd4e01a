#include "runtime/report/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace spd {
namespace {

constexpr double kWidth = 760, kHeight = 420;
constexpr double kLeft = 72, kRight = 170, kTop = 40, kBottom = 52;
// Distinct for the colour-blind, too (Okabe and Ito).
constexpr std::array kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                              "#e69f00", "#56b4e9", "#000000", "#999999"};

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else {
      result += c;
    }
  }
  return result;
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

bool finite(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

std::string text(double x, double y, const char* anchor, const std::string& content,
                 const char* more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" {}>{}</text>\n", x, y,
                     anchor, more, escaped(content));
}

std::string line(double x1, double y1, double x2, double y2, const char* colour) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2,
      y2, colour);
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int most) {
  if (!(high > low)) {
    const double pad = low == 0.0 ? 1.0 : std::abs(low) * 0.1;
    low -= pad;
    high += pad;
  }
  const double rough = (high - low) / std::max(most - 1, 1);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10.0 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1.0 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9);
  const double last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

namespace {

// Values to places on the page: each axis from its first tick to its last.
class Axes {
 public:
  explicit Axes(const Plot& plot) {
    Range x, y;
    for (const PlotSeries& series : plot.series) {
      for (const auto& point : series.points) {
        if (!finite(point)) continue;
        x.take(point.first);
        y.take(point.second);
      }
    }
    if (x.low > x.high) x = y = {0.0, 1.0};
    x_ticks_ = round_ticks(x.low, x.high, 9);
    y_ticks_ = round_ticks(y.low, y.high, 7);
  }

  double x_of(double x) const { return scale(x, x_ticks_, kLeft, kWidth - kRight); }
  double y_of(double y) const { return scale(y, y_ticks_, kHeight - kBottom, kTop); }

  std::string draw() const {
    std::string svg;
    for (const double tick : x_ticks_) {
      svg += line(x_of(tick), kTop, x_of(tick), kHeight - kBottom, "#eee");
      svg += text(x_of(tick), kHeight - kBottom + 18, "middle", fmt::format("{:.6g}", tick));
    }
    for (const double tick : y_ticks_) {
      // A tick of 0 that rounding has left at 1e-19 is 0.
      const double shown =
          std::abs(tick) < 1e-9 * std::abs(y_ticks_.back() - y_ticks_.front()) ? 0.0 : tick;
      svg += line(kLeft, y_of(tick), kWidth - kRight, y_of(tick), shown == 0.0 ? "#888" : "#eee");
      svg += text(kLeft - 8, y_of(tick) + 4, "end", fmt::format("{:.4g}", shown));
    }
    return svg;
  }

 private:
  static double scale(double value, const std::vector<double>& ticks, double from, double to) {
    return from + (value - ticks.front()) / (ticks.back() - ticks.front()) * (to - from);
  }

  std::vector<double> x_ticks_, y_ticks_;
};

// Its points, labels and line, and its `row` of the legend.
std::string draw(const PlotSeries& series, std::size_t row, const Axes& axes) {
  const char* colour = kColours[row % kColours.size()];
  std::string svg, path;
  for (std::size_t k = 0; k < series.points.size(); ++k) {
    if (!finite(series.points[k])) continue;
    const double x = axes.x_of(series.points[k].first);
    const double y = axes.y_of(series.points[k].second);
    path += fmt::format("{:.1f},{:.1f} ", x, y);
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", x, y, colour);
    if (k < series.labels.size()) {
      svg += text(x + 5, y - 5, "start", series.labels[k], "font-size=\"10\"");
    }
  }
  if (series.line) {
    svg +=
        fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>\n",
                    path, colour);
  }
  const double y = kTop + 10 + 18 * static_cast<double>(row);
  svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"/>\n",
                     kWidth - kRight + 16, y, colour);
  return svg + text(kWidth - kRight + 26, y + 4, "start", series.name);
}

}  // namespace

std::string to_svg(const Plot& plot) {
  const Axes axes(plot);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      kWidth, kHeight);
  svg += text(kLeft, 22, "start", plot.title, "font-size=\"15\"");
  svg += axes.draw();
  svg += text((kLeft + kWidth - kRight) / 2, kHeight - 12, "middle", plot.x_label);
  svg += text(
      18, (kTop + kHeight - kBottom) / 2, "middle", plot.y_label,
      fmt::format("transform=\"rotate(-90 18 {:.1f})\"", (kTop + kHeight - kBottom) / 2).c_str());
  for (std::size_t i = 0; i < plot.series.size(); ++i) svg += draw(plot.series[i], i, axes);
  return svg + "</svg>\n";
}

}  // namespace spd
