// Choosing a level and a wire format for each sync point: the least predicted latency within a
// budget of loss, or the least loss within a latency.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/link_model.h"
#include "model/config.h"
#include "runtime/bench/workload.h"
#include "runtime/planning/knapsack.h"
#include "runtime/planning/plan_loss.h"
#include "runtime/planning/sensitivity_table.h"

namespace spd {

/// One way to pass a sync point.
struct PlanChoice {
  SyncLevel level = SyncLevel::full;
  WireFormat wire = WireFormat::f32;
  bool repaired = false;
  PhaseTimes sync;       ///< predicted time of the all-reduce
  PhaseTimes repair;     ///< predicted time of the prediction that takes its place
  double loss = 0.0;     ///< nats that are planned with; see planning_loss
  NllIncrease measured;  ///< as the sensitivities have it
};

/// A sync point and its choices, the first of them full in f32.
struct PlanPoint {
  SyncPoint point = SyncPoint::attn;
  std::int64_t block = 0;
  std::vector<PlanChoice> choices;
};

/// What is planned with for a measured rise. Small rises drown in noise, while the square of what
/// a token's likelihood changes by does not, and says how much is to be expected: to second order
/// half of its mean is the divergence from the model, of which some half was seen to be lost. The
/// two estimates are weighed by their variances; a gain is never counted on.
double planning_loss(const NllIncrease& rise);

struct PlanSolution {
  std::vector<std::size_t> chosen;  ///< [points]
  PhaseTimes sync;                  ///< repairs included
  double loss = 0.0;                ///< predicted: the sum, nats
};

/// A trial of the search for a plan whose joint loss really holds the budget.
struct PlanTrial {
  double budget = 0.0;  ///< that the sum was held to
  PlanSolution solution;
  PlanLoss measured;
};

class Planner {
 public:
  /// `compute`: times without any sync. Points whose sensitivity at a level was not measured are
  /// not offered that level; where several tables have it the last one counts; `node` is not
  /// offered where it is another level's equal. Throws input Error where the links have no times
  /// for a group that is needed.
  Planner(const ModelConfig& config, const LinkModel& links, const Workload& workload,
          const std::vector<SensitivityTable>& sensitivities, SensitivityForm form,
          const PhaseTimes& compute);

  const std::vector<PlanPoint>& points() const { return points_; }
  const PhaseTimes& compute() const { return compute_; }
  const Workload& workload() const { return workload_; }

  /// Every sync full in f32.
  PlanSolution all_full() const;
  /// The least latency whose losses add up to at most `nats`.
  PlanSolution within_loss(double nats) const;
  /// The least sum of losses within a request's latency; nothing where no choice reaches it.
  std::optional<PlanSolution> within_latency(double request_us) const;
  /// The least request latency that any choice reaches.
  double least_latency_us() const;
  /// From every sync full to the least latency, losses growing by about the same factor.
  std::vector<PlanSolution> pareto(int points) const;

  double request_us(const PlanSolution& solution) const {
    return compute_.request_us(workload_) + solution.sync.request_us(workload_);
  }
  SyncLevels levels(const PlanSolution& solution) const;

  /// Losses do not quite add up. Looks for the sum's budget at which the upper bound of the
  /// measured joint loss is within `nats` and near it: at most `trials` calls of measure(levels),
  /// which is the same on every rank. The trials in order; the last is the one to take, and holds
  /// the budget. Where none does, that is every sync full, which by definition loses nothing.
  std::vector<PlanTrial> hold_budget(
      double nats, int trials, const std::function<PlanLoss(const SyncLevels&)>& measure) const;

 private:
  PhaseTimes sync_times(const LinkModel& links, LinkGroup group, WireFormat wire) const;
  void add_choices(PlanPoint& point, const LinkModel& links,
                   const std::vector<SensitivityTable>& sensitivities, SensitivityForm form);
  PlanSolution solution_of(const std::vector<std::size_t>& chosen) const;
  double cost_of(const PlanChoice& choice) const;

  std::int64_t blocks_;
  std::int64_t hidden_;
  Workload workload_;
  PhaseTimes compute_;
  std::vector<PlanPoint> points_;
  KnapsackItems items_;  // cost: microseconds of a request; weight: nats
};

/// Why a point got its choice, in a sentence. `budget`: nats.
std::string reason(const PlanPoint& point, const PlanChoice& chosen, const Workload& workload,
                   double budget, bool output);

}  // namespace spd
