// Wire formats: how the numbers of an all-reduce are written while they travel. Sums are f32
// always.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace spd {

/// Contributions are encoded once before they travel, summed in f32, and the sum is encoded once
/// more, by whichever rank has it: every rank ends up with the same bits, and with any algorithm
/// the same result.
enum class WireFormat : std::uint8_t {
  f32,   ///< as it is
  bf16,  ///< rounded to nearest even: relative error at most 2^-9
  int8,  ///< blocks of 32: an f32 scale (largest magnitude / 127) and 32 integers: error at most
         ///< half a scale
};
inline constexpr std::array kWireFormats{WireFormat::f32, WireFormat::bf16, WireFormat::int8};

std::string_view name(WireFormat format);
/// Throws usage Error for a name that is none of f32, bf16, int8.
WireFormat parse_wire_format(std::string_view text);

/// Values that are encoded together. Encoded data may be cut where a block begins.
inline constexpr std::size_t kWireBlock = 32;

/// Bytes of `count` values, and where value `count` begins if that is a multiple of kWireBlock.
constexpr std::size_t wire_bytes(WireFormat format, std::size_t count) {
  switch (format) {
    case WireFormat::f32:
      return count * sizeof(float);
    case WireFormat::bf16:
      return count * sizeof(std::uint16_t);
    case WireFormat::int8:
      return count + (count + kWireBlock - 1) / kWireBlock * sizeof(float);
  }
  return 0;
}

/// `to` holds wire_bytes(format, count); it need not be aligned. A value that is not finite stays
/// so (in int8 its whole block becomes NaN: the fault is not hidden).
void encode(WireFormat format, const float* from, std::size_t count, std::byte* to);
/// to[i] = what was encoded.
void decode(WireFormat format, const std::byte* from, std::size_t count, float* to);
/// to[i] += what was encoded.
void decode_add(WireFormat format, const std::byte* from, std::size_t count, float* to);
/// data[i] = what a peer would see of it.
void round_trip(WireFormat format, float* data, std::size_t count);

}  // namespace spd
