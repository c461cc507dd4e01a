// Repairs a whole plan, block by block, each on what the blocks repaired so far make of the
// calibration text; keeps what is done, so that an interrupted run goes on where it was.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/block_repair.h"

namespace spd {

struct RepairRunOptions {
  BlockRepairOptions block;
  /// Folder for what is done so far; not there after a run that came to its end. Empty: none.
  std::filesystem::path partial;
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

/// Writes the engine's plan, and beside it, as .safetensors, the repairs of all `ranks` ([ranks],
/// read on rank 0), if there are any. Returns the latter's path. All ranks call it alike.
std::string write_repaired_plan(const RankContext& context, const Engine& engine,
                                const std::vector<RankRepair>& ranks,
                                const std::filesystem::path& out);

nlohmann::json to_json(const BlockOutcome& outcome);

}  // namespace spd
