// What every communicator of processes must do, checked on the ranks themselves.
#pragma once

#include <vector>

#include "comm/communicator.h"
#include "kernels/device/device.h"

namespace spd {

/// Throws std::runtime_error that names the check, size and element unless `comm`, whose ranks are
/// `payload_ranks`, gets sums right to rounding and to the bit the same on all ranks, at sizes from
/// 1 to `largest` elements, odd offsets and lengths, in every wire format, and in `rounds` random
/// calls of all collectives. `contributions` are the ranks whose payloads are summed
/// before they travel; none: each alone. `control` is a trusted communicator of the same ranks in
/// the same order.
void check_collectives(Communicator& comm, Communicator& control, Stream& stream,
                       const std::vector<int>& payload_ranks, std::size_t largest, int rounds,
                       std::vector<std::vector<int>> contributions = {});

}  // namespace spd
