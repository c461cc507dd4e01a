// A workload's two phases, timed: without syncs, for the planner to add syncs to; and a plan beside
// every sync full, to judge what it predicted.
#pragma once

#include <string>

#include "runtime/bench/workload.h"
#include "runtime/inference/engine.h"

namespace spd {

/// Times without any sync. A phase that is given (>= 0) is not timed. Medians over nine
/// repetitions of at most 32 tokens; all ranks call it alike and get the same result. Throws
/// AgreedError where it is interrupted, saying what has been `kept` before and how to go on.
PhaseTimes time_computing(Engine& engine, const Workload& workload, PhaseTimes given,
                          const std::string& kept, const std::string& remedy);

/// Timed in turn in one run. A machine that is shared gets faster and slower between planning and
/// checking; `no_comm` tells how fast it computed here, so that syncs can be judged apart.
struct LatencyCheck {
  PhaseTimes full;     ///< every sync full
  PhaseTimes plan;     ///< the plan, its repairs included
  PhaseTimes no_comm;  ///< no sync, no repair
  /// By the plan: the median of what a step with every sync full takes longer than the plan's
  /// beside it, since computing drifts by more than a few syncs take.
  PhaseTimes saved;
  PhaseTimes saved_low, saved_high;  ///< where that median is, at 95 % confidence
};

/// Medians over 21 repetitions. All ranks call it alike and get the same result. Throws as
/// time_computing() does.
LatencyCheck check_latency(Engine& engine, const SyncLevels& levels, const Workload& workload,
                           const std::string& kept, const std::string& remedy);

}  // namespace spd
