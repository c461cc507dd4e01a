// Repairs a whole plan, block by block, each on what the blocks repaired so far make of the
// calibration text; keeps what is done, so that an interrupted run goes on where it was.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/repair/block_repair.h"

namespace spd {

struct RepairRunOptions {
  BlockRepairOptions block;
  /// Folder for what is done so far, until remove_partial(). Empty: none.
  std::filesystem::path partial;
  /// Called between windows of text on all ranks alike; may throw to end the run.
  std::function<void()> safe_point = {};
};

struct BlockOutcome {
  std::int64_t block = 0;
  bool resumed = false;  ///< done by an earlier run
  std::vector<PointOutcome> points;
};

struct RepairRun {
  std::vector<BlockOutcome> blocks;  ///< those with a sync left out
  std::vector<RankRepair> ranks;     ///< every rank's repairs, on every rank
};

/// Repairs the engine's plan at its levels; its partition becomes the engine's. All ranks call it
/// alike and get the same. `progress(blocks done, of)`. Throws input Error where the text is too
/// short, where data are not finite, or where `partial` holds the work of another run.
RepairRun repair_plan(Engine& engine, const std::vector<std::int32_t>& tokens,
                      const CalibrationOptions& calibration, const RepairRunOptions& options,
                      const std::function<void(std::int64_t, std::int64_t)>& progress = {});

/// To be called when what the run made is in its place. All ranks call it alike.
void remove_partial(const RankContext& context, const RepairRunOptions& options);

nlohmann::json to_json(const BlockOutcome& outcome);

}  // namespace spd
