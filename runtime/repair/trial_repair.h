// Repairs for plans that are tried on the way to one: fitted anew for each, kept on file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/repair/plan_repair.h"

namespace spd {

class TrialRepairs {
 public:
  /// Repairs are fitted on `text` as spd repair does. They are kept in `folder`, which is made, and
  /// found there again by a later run of the same options; `window`: tokens of a window.
  TrialRepairs(RankContext& context, const EngineOptions& engine,
               const std::vector<std::int32_t>& text, const CalibrationOptions& calibration,
               std::filesystem::path folder);

  /// The file of a plan of these levels with the repairs that it needs. All ranks call it alike.
  /// Throws AgreedError where it was interrupted: the next call goes on behind the last block done.
  std::filesystem::path plan_for(const SyncLevels& levels);
  /// The same plan, its repairs where they are: write_plan() copies them to where they are to stay.
  SyncPlan plan_of(const SyncLevels& levels);
  /// Forgets what was tried.
  void remove();

  /// What the losses of these plans depend on, for PlanJudge.
  const std::string& setting() const { return setting_; }

 private:
  std::filesystem::path file_of(const SyncLevels& levels) const;

  RankContext& context_;
  EngineOptions options_;
  const std::vector<std::int32_t>& text_;
  CalibrationOptions calibration_;
  std::filesystem::path folder_;
  std::string setting_;
};

}  // namespace spd
