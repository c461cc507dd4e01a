// What spd plan tells of the plan it chose: for people, for programs, and as a plot.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/bench/phase_timing.h"
#include "runtime/planning/plan_judge.h"
#include "runtime/planning/planner.h"
#include "runtime/repair/block_class.h"
#include "runtime/report/svg_plot.h"

namespace spd {

struct PlanReport {
  std::string machine;
  double budget = 0.0;                   ///< nats
  ClassThresholds thresholds{};          ///< nats that a block's attn sync is worth
  const PlanJudge* judged_by = nullptr;  ///< what joint losses were measured on, if they were
  std::vector<PlanTrial> trials;         ///< joint losses measured; the last is the plan's
  std::optional<LatencyCheck> checked;   ///< measured
  bool virtual_compute = false;          ///< compute times are of virtual ranks on this machine
};

void print_report(const Planner& planner, const PlanSolution& solution, const PlanReport& report);
/// {"machine", "workload", "predicted", "measured", "classes", "points", "pareto"}
nlohmann::json to_json(const Planner& planner, const PlanSolution& solution,
                       const PlanReport& report);
/// Latency of a request against loss: the front, and what was measured.
Plot plot_of(const Planner& planner, const PlanSolution& solution, const PlanReport& report);

}  // namespace spd
