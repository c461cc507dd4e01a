// Repairs one block without training: heads grouped, neurons placed, what views lack predicted, the
// MLP's output refitted; each step kept only where text that was not fitted to says that it helps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/repair/block_class.h"
#include "runtime/repair/calibration.h"
#include "runtime/repair/head_grouping.h"
#include "runtime/repair/prediction_fit.h"

namespace spd {

struct BlockRepairOptions {
  bool grouping = true;    ///< of heads, in extremely sensitive blocks
  bool placement = true;   ///< of neurons
  bool prediction = true;  ///< of missing sums
  bool refit = true;       ///< of the MLP's output weights
  /// Of the block's output error with nothing repaired.
  ClassThresholds thresholds = {.tau1 = 5e-4, .tau2 = 5e-2};
  std::vector<std::int64_t> ks = {16, 32, 64};  ///< ranks to choose among, beside none and mean
  double ridge = 0.1;                           ///< of predictions, see RidgeFit
  double refit_ridge = 0.1;
  double worth = 0.02;  ///< share of the unrepaired error that the next larger k must take away
  GroupingOptions heads;
};

/// One step, and the error that it leaves.
struct RepairStep {
  std::string what;    ///< none, grouping, mean, k16, ..., placement, refit
  double error = 0.0;  ///< mean over held-out tokens of |out - full|^2 / |full|^2
  bool kept = false;
};

struct PointOutcome {
  SyncPoint point = SyncPoint::attn;
  SyncLevel level = SyncLevel::drop;
  BlockClass block_class = BlockClass::insensitive;
  std::vector<RepairStep> steps;

  double before() const { return steps.empty() ? 0.0 : steps.front().error; }
  double after() const;
  std::string methods() const;  ///< what was kept, e.g. "k32 + refit"
};

/// Repairs the block that `calibration` is in front of, and leaves it repaired in the engine. All
/// ranks call it alike: each fits its own, all choose the same. `repair` receives this rank's
/// share; the partition's is in the engine's plan. Throws input Error where data are not finite.
std::vector<PointOutcome> repair_block(Engine& engine, Calibration& calibration,
                                       const SyncLevels& levels, const BlockRepairOptions& options,
                                       BlockRepair& repair);

}  // namespace spd
