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
#include "runtime/engine.h"

namespace spd {

struct RepairFiles {
  std::string out;                 ///< plan to write, its repairs beside it
  std::vector<std::string> merge;  ///< plans to take trained blocks from
  bool resume = false;             ///< take what `out` holds, too
};

class RepairInProgress {
 public:
  /// Installs in the engine what there is: its plan's repairs, and in their place those of trained
  /// blocks. All ranks call everything alike. Throws input Error for plans that do not belong.
  RepairInProgress(Engine& engine, RepairFiles files);

  /// Blocks that another run has trained, or this one before it was interrupted.
  bool trained(std::int64_t block) const { return trained_.contains(block); }

  /// Whether to write: the last time is long ago, or the user wants the run to end.
  bool due();
  void write();
  /// Throws AgreedError that says how to go on; to be called when all has been written.
  void stop_if_interrupted();

  /// Windows that an earlier run has trained on in the training that `settings` describes. Throws
  /// input Error where it was another one.
  std::int64_t windows_done(const std::string& settings) const;
  void write_progress(const std::string& settings, std::int64_t windows);
  void remove_progress() const;

  RankRepair repair;  ///< this rank's

 private:
  RankRepair load(const SyncPlan& plan) const;
  void take(const std::string& file, const char* flag);
  std::filesystem::path progress_file() const { return files_.out + ".progress"; }

  Engine& engine_;
  RepairFiles files_;
  SyncPlan plan_;
  std::set<std::int64_t> trained_;
  bool stop_ = false;
  std::chrono::steady_clock::time_point written_ = std::chrono::steady_clock::now();
};

}  // namespace spd
