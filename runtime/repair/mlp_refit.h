// Refits a block's MLP output where its attention's sync is left out: closed form, and free at
// inference, since only weights change. What the block's output lacks is regressed on all ranks'
// neurons together, and each rank adds its columns of the correction to its own.
#pragma once

#include <vector>

#include "model/repair.h"
#include "runtime/repair/calibration.h"

namespace spd {

/// A device weight on the host, without its padding; a vector as one row, empty where there is
/// none.
HostMatrix read_weight(const Weight& weight, Device& device, Stream& stream);
HostMatrix read_vector(const DeviceVector& vector, std::int64_t size, Device& device,
                       Stream& stream);

/// New "down" and "down_bias" into `repair`, from the weights as installed, which must be its own
/// and its prediction. All ranks call it alike. `targets`: the block's output to be reached, one
/// [tokens, hidden] a fit window.
void refit_down(Engine& engine, Calibration& calibration, const SyncLevels& levels, double ridge,
                const std::vector<std::vector<float>>& targets, BlockRepair& repair);

}  // namespace spd
