// Summaries of timed samples.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "comm/rank_comms.h"

namespace spd {

struct Summary {
  double mean = 0.0;
  double deviation = 0.0;  ///< sample standard deviation
  double min = 0.0;
  double p50 = 0.0;
  double p99 = 0.0;
  double max = 0.0;
};

/// The p-quantile, by linear interpolation between order statistics. No samples: 0.
double quantile(std::vector<double> samples, double p);

/// Of the median, at 95 % confidence: whole order statistics, so that nothing is assumed about how
/// samples are distributed. Fewer than six samples cannot tell, and give all of their range.
struct Interval {
  double low = 0.0;
  double high = 0.0;
};
Interval median_interval(std::vector<double> samples);

/// Percentiles by linear interpolation between order statistics. No samples: all zero.
Summary summarize(std::vector<double> samples);
/// A figure with its standard error, "0.0312 ±0.0004": "0.0312 ±n/a" where one sample or none says
/// nothing of it (NaN), "n/a" where there is no figure either.
std::string with_error(double value, double error, int decimals, bool with_sign = false);

/// {"mean", "std", "min", "p50", "p99", "max"}
nlohmann::json to_json(const Summary& summary);

/// Each sample's maximum over the ranks; collective over all, who get the same.
std::vector<double> slowest(const RankComms& comms, const std::vector<double>& mine, Stream& stream,
                            const CallSite& site);

}  // namespace spd
