// Small things that calibration does with residual streams on the host.
#pragma once

#include <cstdint>
#include <vector>

#include "model/sync_observer.h"
#include "runtime/inference/engine.h"

namespace spd {

/// A view's values, row by row. Waits for the stream.
std::vector<float> to_host(Device& device, ConstActivations view, Stream& stream);

/// Mean of the squares of `size` values.
double mean_square(const float* row, std::int64_t size);

/// Mean over tokens of |a - b|^2 / |b|^2, for [tokens, hidden].
double relative_error(const std::vector<float>& a, const std::vector<float>& b,
                      std::int64_t hidden);

/// The residual stream as it would be had this sync and all before been paid for, [tokens, hidden]:
/// base plus the sum of all ranks' deltas. To be called before the sync, by all ranks alike.
std::vector<float> true_stream(Engine& engine, const SyncPassage& passage, Stream& stream);

}  // namespace spd
