// Measuring how much a text's prediction suffers at each sync point.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/evaluation/perplexity.h"
#include "runtime/inference/engine.h"
#include "runtime/planning/sensitivity_table.h"

namespace spd {

/// What to measure. A level is tried with f32, a wire format with level `full`.
struct SensitivityOptions {
  WindowOptions windows;
  std::vector<SensitivityForm> forms{SensitivityForm::single};
  std::vector<SyncPoint> points{SyncPoint::attn, SyncPoint::mlp};
  std::vector<SyncLevel> levels{SyncLevel::drop, SyncLevel::node};
  std::vector<WireFormat> wires;
};

/// The items that `options` ask for on this model and allocation, in the order in which they are
/// measured: form by form, point by point, from the last block to the first. The model's last sync
/// point keeps its level. `node` is left out where it is `full` (one node) or `drop` (one rank a
/// node).
std::vector<SensitivityEntry> sensitivity_items(const SensitivityOptions& options,
                                                std::int64_t blocks, const Topology& topology);

/// Notes in the entries which repairs of the engine's plan are in effect at them. All ranks call it
/// alike.
void note_repairs(Engine& engine, std::vector<SensitivityEntry>& entries);

/// How many whole windows of `text_tokens` tokens `windows` ask for. Throws input Error where the
/// text has not even one.
std::int64_t whole_windows(std::int64_t text_tokens, const WindowOptions& windows);

/// Measures the table's entries on the text's whole windows, as far as they have not been. Windows
/// go batch by batch, as many at a time as fit a step; the inputs of all blocks are kept for a
/// batch, so that an item costs only the blocks from its own on: half a forward pass in the mean.
///
/// `after_item(units done, of)` is called on every rank after each item; where it returns false
/// (alike on all ranks) the measurement ends and the table holds what was done. Returns whether all
/// is done. Throws input Error where the model yields NaN. All ranks call it alike and get the same
/// table.
bool measure_sensitivity(Engine& engine, const std::vector<std::int32_t>& text,
                         const SensitivityOptions& options, SensitivityTable& table,
                         const std::function<bool(std::int64_t, std::int64_t)>& after_item);

}  // namespace spd
