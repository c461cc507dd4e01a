#include "comm/wire_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/device/error.h"

namespace spd {

namespace {

constexpr std::uint32_t kMagnitude = 0x7fffffff;
constexpr std::uint32_t kInfinity = 0x7f800000;

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  // A NaN must not be rounded up to an infinity or to zero.
  const std::uint32_t quiet = bits >> 16 | 0x40;
  return static_cast<std::uint16_t>((bits & kMagnitude) > kInfinity ? quiet : rounded);
}

float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// A block of int8, whole or the last of a payload.
struct Quantised {
  float scale;
  std::array<std::int8_t, kWireBlock> values;
};

Quantised quantise(const float* from, std::size_t count) {
  Quantised block{};
  // As integers: magnitudes of floats compare alike, and infinity and NaN are the largest.
  std::int32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto magnitude =
        static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(from[i]) & kMagnitude);
    largest = std::max(largest, magnitude);
  }
  constexpr float kSteps = 127.0f;
  // Below this 127 / largest would overflow, and the values are nothing beside any others.
  constexpr auto kNothing = std::bit_cast<std::int32_t>(1e-36f);
  if (largest < kNothing) return block;
  if (largest >= static_cast<std::int32_t>(kInfinity)) {
    block.scale = std::bit_cast<float>(kInfinity | 0x400000);  // NaN
    return block;
  }
  block.scale = std::bit_cast<float>(largest) / kSteps;
  const float inverse = kSteps / std::bit_cast<float>(largest);
  // Adding 1.5 * 2^23 leaves the nearest integer (ties to even) in the low bits: a loop of plain
  // additions that compilers turn into vectors, which calls of lrint are not.
  constexpr float kShift = 12582912.0f;
  constexpr auto kShiftBits = std::bit_cast<std::int32_t>(kShift);
  for (std::size_t i = 0; i < count; ++i) {
    const float shifted = from[i] * inverse + kShift;
    block.values[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(shifted) - kShiftBits);
  }
  return block;
}

void encode_bf16(const float* from, std::size_t count, std::byte* to) {
  std::array<std::uint16_t, kWireBlock> block;
  for (std::size_t at = 0; at < count; at += kWireBlock) {
    const std::size_t n = std::min(kWireBlock, count - at);
    if (n == kWireBlock) {
      for (std::size_t i = 0; i < kWireBlock; ++i) block[i] = to_bf16(from[at + i]);
    } else {
      for (std::size_t i = 0; i < n; ++i) block[i] = to_bf16(from[at + i]);
    }
    std::memcpy(to + at * sizeof(std::uint16_t), block.data(), n * sizeof(std::uint16_t));
  }
}

void encode_int8(const float* from, std::size_t count, std::byte* to) {
  for (std::size_t at = 0; at < count; at += kWireBlock) {
    const std::size_t n = std::min(kWireBlock, count - at);
    const Quantised block =
        n == kWireBlock ? quantise(from + at, kWireBlock) : quantise(from + at, n);
    std::memcpy(to, &block.scale, sizeof(float));
    std::memcpy(to + sizeof(float), block.values.data(), n);
    to += sizeof(float) + n;
  }
}

/// values[0, kWireBlock) = the block at `from`, of which `n` values are there.
inline void decode_block(WireFormat format, const std::byte* from, std::size_t n, float* values) {
  if (format == WireFormat::bf16) {
    std::array<std::uint16_t, kWireBlock> block{};
    std::memcpy(block.data(), from, n * sizeof(std::uint16_t));
    for (std::size_t i = 0; i < kWireBlock; ++i) values[i] = from_bf16(block[i]);
  } else {
    Quantised block{};
    std::memcpy(&block.scale, from, sizeof(float));
    std::memcpy(block.values.data(), from + sizeof(float), n);
    for (std::size_t i = 0; i < kWireBlock; ++i) {
      values[i] = block.scale * static_cast<float>(block.values[i]);
    }
  }
}

/// Calls take(at, values, n) with the decoded values of one block after the other.
template <class Take>
void decode_blocks(WireFormat format, const std::byte* from, std::size_t count, const Take& take) {
  std::array<float, kWireBlock> values;
  std::size_t at = 0;
  // Whole blocks with a length that the compiler knows: no calls of memcpy.
  for (; at + kWireBlock <= count; at += kWireBlock) {
    decode_block(format, from, kWireBlock, values.data());
    from += wire_bytes(format, kWireBlock);
    take(at, values.data(), kWireBlock);
  }
  if (at < count) {
    decode_block(format, from, count - at, values.data());
    take(at, values.data(), count - at);
  }
}

}  // namespace

std::string_view name(WireFormat format) {
  switch (format) {
    case WireFormat::f32:
      return "f32";
    case WireFormat::bf16:
      return "bf16";
    case WireFormat::int8:
      return "int8";
  }
  return "unknown";
}

WireFormat parse_wire_format(std::string_view text) {
  for (WireFormat format : kWireFormats) {
    if (text == name(format)) return format;
  }
  throw Error(ErrorCode::usage, fmt::format("unknown wire format \"{}\"", text),
              "use f32, bf16 or int8");
}

void encode(WireFormat format, const float* from, std::size_t count, std::byte* to) {
  switch (format) {
    case WireFormat::f32:
      std::memcpy(to, from, count * sizeof(float));
      return;
    case WireFormat::bf16:
      return encode_bf16(from, count, to);
    case WireFormat::int8:
      return encode_int8(from, count, to);
  }
}

void decode(WireFormat format, const std::byte* from, std::size_t count, float* to) {
  if (format == WireFormat::f32) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  decode_blocks(format, from, count, [&](std::size_t at, const float* values, std::size_t n) {
    if (n == kWireBlock) {
      std::memcpy(to + at, values, kWireBlock * sizeof(float));
    } else {
      std::memcpy(to + at, values, n * sizeof(float));
    }
  });
}

void decode_add(WireFormat format, const std::byte* from, std::size_t count, float* to) {
  if (format == WireFormat::f32) {
    for (std::size_t i = 0; i < count; ++i) {
      float value;
      std::memcpy(&value, from + i * sizeof(float), sizeof value);
      to[i] += value;
    }
    return;
  }
  decode_blocks(format, from, count, [&](std::size_t at, const float* values, std::size_t n) {
    if (n == kWireBlock) {
      for (std::size_t i = 0; i < kWireBlock; ++i) to[at + i] += values[i];
    } else {
      for (std::size_t i = 0; i < n; ++i) to[at + i] += values[i];
    }
  });
}

void round_trip(WireFormat format, float* data, std::size_t count) {
  if (format == WireFormat::f32) return;
  std::array<std::byte, wire_bytes(WireFormat::bf16, kWireBlock)> block;
  for (std::size_t at = 0; at < count; at += kWireBlock) {
    const std::size_t n = std::min(kWireBlock, count - at);
    encode(format, data + at, n, block.data());
    decode(format, block.data(), n, data + at);
  }
}

}  // namespace spd
