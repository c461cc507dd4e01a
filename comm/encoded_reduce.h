// All-reduce over messages in a wire format other than f32.
#pragma once

#include <cstddef>

#include "comm/algorithms.h"

namespace spd {

// Both give the bits that WireFormat promises: every contribution encoded once, decoded, summed in
// rank order, and the sum encoded and decoded once. S is the encoded payload.

/// Everyone to everyone: 1 step, (R-1) S.
void encoded_one_shot(const Exchange& exchange, float* data, std::size_t count, WireFormat wire);
/// Each chunk to its owner, who sums it and sends it to all: 2 steps, 2 S (R-1)/R.
void encoded_scatter_gather(const Exchange& exchange, float* data, std::size_t count,
                            WireFormat wire);

}  // namespace spd
