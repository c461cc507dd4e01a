// Which MLP neuron lives on which rank: where the attention's sync is left out, a neuron belongs on
// the rank whose view of the stream drives it most nearly as the true stream would.
#pragma once

#include <vector>

#include "runtime/repair/calibration.h"

namespace spd {

/// The block's shards with the same heads and as many neurons a rank as before, placed at the least
/// total of E |down_n|^2 (act_n(view_r) - act_n(stream))^2 / |stream|^2 over some of the fit
/// windows. The block's prediction must be installed. All ranks call it alike and get the same.
std::vector<BlockShard> place_neurons(Engine& engine, Calibration& calibration,
                                      const SyncLevels& levels);

}  // namespace spd
