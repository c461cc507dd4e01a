// The sync plan: how far the sum travels at each of the model's 2 * L sync points.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "comm/topology.h"
#include "comm/wire_format.h"
#include "model/config.h"
#include "model/partition.h"

namespace spd {

class JsonObject;

/// Where a block's ranks may add up what they computed (arXiv 2502.20727, section 3).
enum class SyncPoint { attn, mlp };

/// full: over all ranks. node: over the ranks of a node, the rest is deferred. drop: all deferred.
enum class SyncLevel { full, node, drop };

const char* name(SyncPoint point);
const char* name(SyncLevel level);
/// Throw input Error for unknown names.
SyncLevel parse_sync_level(std::string_view text);
SyncPoint parse_sync_point(std::string_view text);

/// Levels by sync point, and how what a sync sends is written while it travels. Always valid for a
/// model: the last sync point is `full`.
struct SyncLevels {
  std::vector<SyncLevel> attn;        ///< [blocks]
  std::vector<SyncLevel> mlp;         ///< [blocks]
  std::vector<WireFormat> attn_wire;  ///< [blocks]; of no account where the level is `drop`
  std::vector<WireFormat> mlp_wire;   ///< [blocks]

  static SyncLevels all_full(std::int64_t blocks);
  SyncLevel& at(std::int64_t block, SyncPoint point) {
    return (point == SyncPoint::attn ? attn : mlp).at(block);
  }
  SyncLevel at(std::int64_t block, SyncPoint point) const {
    return (point == SyncPoint::attn ? attn : mlp).at(block);
  }
  WireFormat& wire_at(std::int64_t block, SyncPoint point) {
    return (point == SyncPoint::attn ? attn_wire : mlp_wire).at(block);
  }
  WireFormat wire_at(std::int64_t block, SyncPoint point) const {
    return (point == SyncPoint::attn ? attn_wire : mlp_wire).at(block);
  }
  int count(SyncLevel level) const;
  /// Syncs that travel in this format: those dropped are none of them.
  int count(WireFormat wire) const;
  /// Throws usage Error unless all have `blocks` entries and the last mlp level is `full`.
  void validate(std::int64_t blocks) const;
  bool operator==(const SyncLevels&) const = default;
  /// In a few characters a sync point: the same for levels that run alike, whatever wires they
  /// name for what is dropped.
  std::string key() const;

  /// {"attn": ["full", ...], "mlp": [...]}: the levels alone, read with wires of f32. Reading
  /// throws input Error or nlohmann's exceptions.
  nlohmann::json to_json() const;
  /// Throws input Error naming file and key.
  static SyncLevels from_json(const JsonObject& json);
};

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

/// The blocks of a list such as "0-4,29" of a command line. Throws usage Error naming `flag` for
/// what does not parse or is out of range.
std::set<std::int64_t> select_blocks(std::string_view flag, std::string_view list,
                                     std::int64_t blocks);
/// Applies one command-line selection such as "attn:5-20,22" or "mlp:all" to levels.
/// Throws usage Error naming `flag` for what does not parse or is out of range.
void apply_selection(std::string_view flag, std::string_view selection, SyncLevel level,
                     SyncLevels& levels);
/// The same for a wire format and a selection, such as "bf16=attn:5-20".
void apply_wire_selection(std::string_view flag, std::string_view text, SyncLevels& levels);

}  // namespace spd
