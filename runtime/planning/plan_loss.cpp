#include "runtime/planning/plan_loss.h"

#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/report/significance.h"

namespace spd {

PlanLoss plan_loss(std::span<const double> plan_nll, std::span<const double> full_nll,
                   double error_rate) {
  std::vector<double> rises;
  for (std::size_t i = 0; i < plan_nll.size(); ++i) rises.push_back(plan_nll[i] - full_nll[i]);
  const Estimate mean = mean_of(rises);
  PlanLoss loss;
  loss.nats = mean.value;
  loss.windows = static_cast<std::int64_t>(rises.size());
  double margin = std::numeric_limits<double>::infinity();
  if (loss.windows > 1) {
    const boost::math::students_t t(static_cast<double>(loss.windows - 1));
    loss.standard_error = mean.stderr_;
    margin = boost::math::quantile(boost::math::complement(t, error_rate)) * mean.stderr_;
  }
  loss.lower = loss.nats - margin;
  loss.upper = loss.nats + margin;
  return loss;
}

}  // namespace spd
