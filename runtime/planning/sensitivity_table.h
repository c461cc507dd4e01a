// What sync points cost in accuracy: the result of `spd sensitivity`, the input of `spd plan`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/sync_plan.h"

namespace spd {

/// How one sync point's loss is isolated.
enum class SensitivityForm : std::uint8_t {
  single,    ///< this sync alone is changed, every other is full
  backward,  ///< this one and those of all later blocks are; less the same without this one
             ///< (arXiv 2502.20727, section 3.2)
};
const char* name(SensitivityForm form);
/// Throws usage Error for a name that is neither.
SensitivityForm parse_sensitivity_form(std::string_view text);

/// A mean over tokens, and how sure it is.
struct NllIncrease {
  double nats = 0.0;
  double standard_error = 0.0;  ///< of the mean, tokens taken as independent
  double half_square = 0.0;     ///< half the mean square of a token's change of NLL
};

/// Sums over the scored tokens of one window.
struct WindowRise {
  double total = 0.0;    ///< of the rise of NLL against every sync full, nats
  double squares = 0.0;  ///< of the square of the entry's own share of it
};

/// One thing that was measured.
struct SensitivityEntry {
  SensitivityForm form = SensitivityForm::single;
  SyncPoint point = SyncPoint::attn;
  std::int64_t block = 0;
  SyncLevel level = SyncLevel::drop;
  WireFormat wire = WireFormat::f32;
  bool repaired = false;            ///< a prediction of what is missing was in effect here
  double repair_share = 0.0;        ///< its multiply-adds over those of the rank's weights in the
                                    ///< block; the largest of the ranks
  std::vector<WindowRise> windows;  ///< [windows done so far]

  bool same_item(const SensitivityEntry& other) const {
    return form == other.form && point == other.point && block == other.block &&
           level == other.level && wire == other.wire;
  }
};

/// The table, and what it was measured on.
class SensitivityTable {
 public:
  nlohmann::json header;             ///< model, tp, ranks_per_node, plan and text
  std::vector<std::int64_t> tokens;  ///< [windows]: scored
  std::vector<double> base_nll_sum;  ///< [windows]: nats, every sync full
  std::vector<SensitivityEntry> entries;

  /// Mean NLL with every sync full over the windows done, nats.
  double base_nll() const;
  /// Mean rise of an entry against every sync full, nats.
  double total_rise(const SensitivityEntry& entry) const;
  /// The entry's own share: the same for `single`, less the next block's for `backward`. Entries of
  /// that form must be there from this block to the last.
  NllIncrease own_rise(const SensitivityEntry& entry) const;
  const SensitivityEntry* find(SensitivityForm form, SyncPoint point, std::int64_t block,
                               SyncLevel level, WireFormat wire) const;
  /// Whether every entry covers every window.
  bool complete() const;

  /// {"schema": "spd.sensitivity/1", ..., "window_tokens_scored", "window_nll_sum_nats",
  /// "entries": [{"form", "point", "block", "level", "wire", "repaired", "repair_share_of_block",
  /// "nll_rise_nats",
  /// "nll_rise_stderr_nats", "total_nll_rise_nats", "window_total_rise_sum_nats",
  /// "window_own_rise_squares_nats2"}]}
  nlohmann::json to_json() const;
  /// Throws input Error naming file and key where it is not a sensitivity file.
  static SensitivityTable load(const std::filesystem::path& file);
  /// Throws input Error where an entry is of a block that a model of so many does not have.
  void check_blocks(std::int64_t blocks) const;
};

}  // namespace spd
