// The sync plan: the levels of a model's sync points with what they were made for, as a file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "comm/topology.h"
#include "model/config.h"
#include "model/partition.h"
#include "model/sync_levels.h"

namespace spd {

/// Where a plan's repair file may be.
enum class RepairPaths : std::uint8_t {
  beside,  ///< in the plan's own folder: a plan from elsewhere has no other files read
  any,
};

/// The repairs that a plan goes with (model/repair.h).
struct RepairReference {
  std::filesystem::path file;
  std::string hash;  ///< of its content, see file_hash
  bool operator==(const RepairReference&) const = default;
};

/// Levels with what they were made for. JSON: {"schema": "spd.plan/1", "version", "model":
/// {"architecture", "fingerprint"}, "tp", "ranks_per_node", "partition", "levels": {"attn",
/// "mlp"}, "wire": {"attn", "mlp"}, "repair": {"file", "hash"}}. "wire" may be missing, all f32
/// then; "repair" is missing where nothing was repaired, its file named relative to the plan's
/// folder.
struct SyncPlan {
  std::string architecture;
  std::string fingerprint;  ///< see model/fingerprint.h
  std::vector<int> ranks_per_node;
  Partition partition;
  SyncLevels levels;
  std::optional<RepairReference> repair;

  int ranks() const { return partition.ranks(); }

  /// Every level `full`, contiguous partition.
  static SyncPlan all_full(const ModelConfig& config, const Topology& topology);

  /// Reads a plan for `config` on `topology`. Throws input Error naming the file and the difference
  /// where it is malformed or was made for another model or TP degree or, if it has syncs within
  /// nodes, for other nodes, or where its repair file is not where `paths` allows.
  static SyncPlan load(const std::filesystem::path& file, const ModelConfig& config,
                       const Topology& topology, RepairPaths paths = RepairPaths::beside);
  /// The same from parsed JSON; `origin` names it in messages.
  static SyncPlan from_json(const nlohmann::json& json, const std::string& origin,
                            const ModelConfig& config, const Topology& topology,
                            RepairPaths paths = RepairPaths::beside);
  /// `folder`: where the plan is to be written; the repair file is named relative to it.
  nlohmann::json to_json(const ModelConfig& config,
                         const std::filesystem::path& folder = ".") const;
};

}  // namespace spd
