// Held-out text on which plans are judged: window by window against every sync full, kept on file
// as it goes, so that an interrupted search for a plan loses nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/inference/engine.h"
#include "runtime/planning/plan_loss.h"

namespace spd {

struct PlanJudgeOptions {
  std::int64_t window = 512;   ///< tokens of a window
  std::int64_t windows = 64;   ///< at most; 0: as many as there are
  std::int64_t skip = 0;       ///< windows at the text's beginning that something else has seen
  double confidence = 0.95;    ///< that all the upper bounds given out hold
  int trials = 6;              ///< so many plans share what is left of it
  std::filesystem::path file;  ///< of what has been measured; empty: none
};

class PlanJudge {
 public:
  /// The windows are whole and spread evenly over what is left of the text. `setting`: what else
  /// the losses depend on (model, ranks, repairs): a file of another setting or text is refused.
  /// All ranks call it alike. Throws AgreedError where the text is too short or the file another's.
  PlanJudge(const RankComms& comms, const std::vector<std::int32_t>& text,
            const PlanJudgeOptions& options, const std::string& setting);

  /// Runs every sync full on all windows: what losses are measured against. Before any measure().
  void measure_full(Engine& engine);
  /// The joint loss of levels. A plan that clearly loses more than `budget` is not run to the end:
  /// that can make the search shorter, never the budget looser. Throws AgreedError where the run
  /// was interrupted. All ranks call both alike.
  PlanLoss measure(Engine& engine, const SyncLevels& levels,
                   double budget = std::numeric_limits<double>::infinity());

  std::int64_t windows() const { return static_cast<std::int64_t>(begins_.size()); }
  const PlanJudgeOptions& options() const { return options_; }
  double full_nll() const;
  /// What to say when a run is interrupted: what has been kept, and what to do.
  std::string kept() const;
  std::string how_to_go_on() const;

 private:
  using Losses = std::vector<double>;  // [windows done]: mean NLL
  void extend(Engine& engine, const SyncLevels& levels, std::int64_t windows, const char* what,
              Losses& losses);
  /// Takes over the trials of earlier runs; the same on every rank, as rank 0 reads them.
  void load(const RankComms& comms);
  void take(const nlohmann::json& kept);
  void save(const RankComms& comms) const;

  PlanJudgeOptions options_;
  std::vector<std::int32_t> text_;
  std::vector<std::int64_t> begins_;  // [windows]
  std::string setting_;
  Losses full_;
  std::map<std::string, Losses> plans_;  // by their levels
};

}  // namespace spd
