// Repairs under way in spd distill: where they begin, what other runs contribute, where they go;
// written now and then, so that an interrupted run can be gone on with.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "model/repair.h"
#include "runtime/inference/engine.h"
#include "runtime/job/interrupt.h"
#include "runtime/repair/plan_output.h"
#include "runtime/report/output_file.h"

namespace spd {

struct RepairFiles {
  OutputFile out;                  ///< plan to write, its repairs beside it
  std::vector<std::string> merge;  ///< plans to take trained blocks from
  bool resume = false;             ///< take what `out` holds, too
};

class DistillCheckpoint {
 public:
  /// Installs in the engine what there is: its plan's repairs, and in their place those of trained
  /// blocks. All ranks call everything alike. Throws input Error for plans that do not belong.
  DistillCheckpoint(Engine& engine, RepairFiles files);

  /// Blocks that another run has trained, or this one before it was interrupted.
  bool trained(std::int64_t block) const { return trained_.contains(block); }

  /// Whether to write: since the last time so much longer has passed than writing takes, or the
  /// user wants the run to end. A safe point: to be called often, by all ranks alike.
  bool due();
  /// Returns what is there now, on rank 0. `state`: of the plan.
  std::string write(PlanState state = PlanState::under_way);
  /// Throws AgreedError that says how to go on; to be called when all has been written.
  void stop_if_interrupted();
  /// Behind a piece of the training of blocks, which is worth nothing before they are done: where
  /// the user wants the run to end, writes what was done before and throws.
  void stop_between();

  /// Windows that an earlier run has trained on in the training that `settings` describes. Throws
  /// input Error where it was another one.
  std::int64_t windows_done(const std::string& settings) const;
  void write_progress(const std::string& settings, std::int64_t windows);
  void remove_progress() const;

  /// Takes over what training made of blocks [first, last): to be written next.
  void take(std::int64_t first, std::int64_t last, const RankRepair& trained);

  RankRepair repair;  ///< this rank's

 private:
  RankRepair load(const SyncPlan& plan) const;
  void take(const std::string& file, const char* flag);
  std::filesystem::path progress_file() const { return files_.out.file().string() + ".progress"; }

  Engine& engine_;
  RepairFiles files_;
  SyncPlan plan_;
  std::set<std::int64_t> trained_;
  bool wrote_ = false;      // in this run
  bool unwritten_ = false;  // blocks have been trained since
  SafePoints points_;
  std::optional<Interruption> stop_;
  std::chrono::steady_clock::time_point written_ = std::chrono::steady_clock::now();
  std::chrono::duration<double> writing_took_{0.0};
};

}  // namespace spd
