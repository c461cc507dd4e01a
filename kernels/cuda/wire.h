// Numbers of an all-reduce as they travel: bit by bit what comm/wire_format.h makes of them on the
// host.
#pragma once

#include <cstdint>

#include "kernels/cuda/queue.h"

namespace spd::cuda {

enum class Wire : std::uint8_t {
  bf16,
  int8,  ///< blocks of 32: an f32 scale, then as many integers
};

/// `to` starts a 4-byte word.
void encode(Wire wire, const float* from, std::int64_t count, void* to, const Queue& queue);
/// to[i] = what was encoded, added to what is there if `adds`.
void decode(Wire wire, const void* from, std::int64_t count, float* to, bool adds,
            const Queue& queue);

}  // namespace spd::cuda
