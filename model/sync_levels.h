// Sync levels: how far the sum travels at each of the model's 2 * L sync points, and how what it
// sends is written on the way.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "comm/wire_format.h"

namespace spd {

class JsonObject;

/// Where a block's ranks may add up what they computed (arXiv 2502.20727, section 3): behind its
/// attention, and behind its MLP.
enum class SyncPoint { attn, mlp };
/// A block's sync points in the order of a pass.
inline constexpr std::array kSyncPoints{SyncPoint::attn, SyncPoint::mlp};

/// full: over all ranks. node: over the ranks of a node, the rest is deferred. drop: all deferred.
enum class SyncLevel { full, node, drop };
inline constexpr std::array kSyncLevels{SyncLevel::full, SyncLevel::node, SyncLevel::drop};

const char* name(SyncPoint point);
const char* name(SyncLevel level);
/// Throw input Error for unknown names.
SyncLevel parse_sync_level(std::string_view text);
SyncPoint parse_sync_point(std::string_view text);

/// Whether a sync point is the last of a model of `blocks` blocks: its output needs it `full`.
constexpr bool is_output(std::int64_t block, SyncPoint point, std::int64_t blocks) {
  return point == SyncPoint::mlp && block + 1 == blocks;
}

/// What a block has at each of its two sync points, or in each of the sub-layers before them.
template <class T>
struct PerPoint {
  T attn{};
  T mlp{};

  T& operator[](SyncPoint point) { return point == SyncPoint::attn ? attn : mlp; }
  const T& operator[](SyncPoint point) const { return point == SyncPoint::attn ? attn : mlp; }
  bool operator==(const PerPoint&) const = default;
};

/// Levels and wire formats by sync point. Valid for a model if the last sync point is `full`.
struct SyncLevels {
  PerPoint<std::vector<SyncLevel>> level;  ///< [blocks] each
  PerPoint<std::vector<WireFormat>> wire;  ///< [blocks] each; of no account at level `drop`

  static SyncLevels all_full(std::int64_t blocks);

  std::int64_t blocks() const { return std::ssize(level.attn); }
  SyncLevel& at(std::int64_t block, SyncPoint point) { return level[point].at(block); }
  SyncLevel at(std::int64_t block, SyncPoint point) const { return level[point].at(block); }
  WireFormat& wire_at(std::int64_t block, SyncPoint point) { return wire[point].at(block); }
  WireFormat wire_at(std::int64_t block, SyncPoint point) const { return wire[point].at(block); }

  int count(SyncLevel of) const;
  /// Syncs that travel in this format: those dropped are none of them.
  int count(WireFormat of) const;
  /// Whether any sync of the model, of a block, or of blocks [first, last) is not `full`.
  bool leaves_out() const { return leaves_out(0, blocks()); }
  bool leaves_out(std::int64_t block) const { return leaves_out(block, block + 1); }
  bool leaves_out(std::int64_t first, std::int64_t last) const;
  /// "40 full, 0 node, 20 dropped syncs a pass, 30 as bf16".
  std::string describe() const;

  /// Throws usage Error unless all have `blocks` entries and the model's output is `full`.
  void validate(std::int64_t blocks) const;
  bool operator==(const SyncLevels&) const = default;
  /// In a few characters a sync point: the same for levels that run alike, whatever wires they
  /// name for what is dropped.
  std::string key() const;

  /// {"attn": ["full", ...], "mlp": [...]}: the levels alone.
  nlohmann::json to_json() const;
  /// The wire formats in the same form.
  nlohmann::json wire_to_json() const;
  /// Reads the levels, with wires of f32. Throws input Error naming file and key.
  static SyncLevels from_json(const JsonObject& json);
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
