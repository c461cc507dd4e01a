#include "runtime/report/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

namespace spd {

namespace {

double quantile_of_sorted(const std::vector<double>& samples, double p) {
  const double place = p * (static_cast<double>(samples.size()) - 1.0);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, samples.size() - 1);
  return samples[below] + (place - std::floor(place)) * (samples[above] - samples[below]);
}

}  // namespace

double quantile(std::vector<double> samples, double p) {
  if (samples.empty()) return 0.0;
  std::sort(samples.begin(), samples.end());
  return quantile_of_sorted(samples, p);
}

Interval median_interval(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  // The number of samples below the median is binomial. As many are left out on either side as
  // stay so with at most half of what is allowed to go wrong.
  const auto n = static_cast<double>(samples.size());
  std::size_t left_out = 0;
  double log_chance = -n * std::numbers::ln2;  // of so many below
  for (double wrong = std::exp(log_chance);; ++left_out) {
    const auto below = static_cast<double>(left_out);
    log_chance += std::log((n - below) / (below + 1.0));
    wrong += std::exp(log_chance);
    if (wrong > 0.025) break;
  }
  return {samples[left_out], samples[samples.size() - 1 - left_out]};
}

Summary summarize(std::vector<double> samples) {
  Summary summary;
  if (samples.empty()) return summary;
  std::sort(samples.begin(), samples.end());
  const auto count = static_cast<double>(samples.size());
  for (const double sample : samples) summary.mean += sample / count;
  for (const double sample : samples) {
    summary.deviation += (sample - summary.mean) * (sample - summary.mean);
  }
  summary.deviation = samples.size() > 1 ? std::sqrt(summary.deviation / (count - 1.0)) : 0.0;
  summary.min = samples.front();
  summary.p50 = quantile_of_sorted(samples, 0.5);
  summary.p99 = quantile_of_sorted(samples, 0.99);
  summary.max = samples.back();
  return summary;
}

std::string with_error(double value, double error, int decimals, bool with_sign) {
  if (!std::isfinite(value)) return "n/a";
  const std::string figure = with_sign ? fmt::format("{:+.{}f}", value, decimals)
                                       : fmt::format("{:.{}f}", value, decimals);
  return figure + (std::isfinite(error) ? fmt::format(" ±{:.{}f}", error, decimals) : " ±n/a");
}

nlohmann::json to_json(const Summary& summary) {
  return {{"mean", summary.mean}, {"std", summary.deviation}, {"min", summary.min},
          {"p50", summary.p50},   {"p99", summary.p99},       {"max", summary.max}};
}

std::vector<double> slowest(const RankComms& comms, const std::vector<double>& mine, Stream& stream,
                            const CallSite& site) {
  std::vector<double> all(mine.size() * comms.ranks());
  comms.world->all_gather(mine.data(), all.data(), mine.size() * sizeof(double), stream, site);
  std::vector<double> most(mine);
  for (std::size_t i = 0; i < all.size(); ++i) {
    most[i % mine.size()] = std::max(most[i % mine.size()], all[i]);
  }
  return most;
}

}  // namespace spd
