// The loops behind bf16 and int8 on the wire, by the best instruction set the processor has: what
// encode() and its like in wire_format.h do with other formats than f32. All sets give the same
// bits.
#pragma once

#include <cstddef>

#include "comm/wire_format.h"

namespace spd {

void encode_blocks(WireFormat format, const float* from, std::size_t count, std::byte* to);
void decode_blocks(WireFormat format, const std::byte* from, std::size_t count, float* to);
void decode_add_blocks(WireFormat format, const std::byte* from, std::size_t count, float* to);
void round_trip_blocks(WireFormat format, float* data, std::size_t count);

}  // namespace spd
