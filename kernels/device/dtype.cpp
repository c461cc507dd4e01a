#include "kernels/device/dtype.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/device/error.h"

namespace spd {

std::string_view name(DType type) {
  switch (type) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::i8:
      return "i8";
  }
  return "unknown";
}

DType parse_dtype(std::string_view text) {
  for (DType type : {DType::f32, DType::bf16, DType::f16}) {
    if (text == name(type)) return type;
  }
  throw Error(ErrorCode::usage, fmt::format("unknown data type \"{}\"", text),
              "use f32, bf16 or f16");
}

std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float f16_to_f32(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1f;
  const std::uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0) {  // zero and subnormal: mantissa * 2^-24
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -magnitude : magnitude;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

std::uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // >= 65536
  if (magnitude < 0x38800000u) {  // below 2^-14: subnormal, in units of 2^-24
    const float scaled = std::ldexp(std::bit_cast<float>(magnitude), 24);
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyint(scaled)));
  }
  // Rebias the exponent, round the 13 lost bits to nearest even; a carry may reach infinity.
  const std::uint32_t rebased = magnitude - (112u << 23);
  return static_cast<std::uint16_t>(sign | ((rebased + 0xfff + ((rebased >> 13) & 1)) >> 13));
}

float i8_scale(const float* row, std::size_t count) {
  float largest = 0.0f;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(row[i]));
  if (largest == 0.0f) return 1.0f;
  int exponent = 0;
  const bool exact = std::frexp(largest / 127.0f, &exponent) == 0.5f;
  return std::ldexp(1.0f, exact ? exponent - 1 : exponent);
}

std::int8_t f32_to_i8(float value, float scale) {
  return static_cast<std::int8_t>(std::clamp(std::nearbyint(value / scale), -127.0f, 127.0f));
}

namespace {

float load(const void* data, DType type, std::size_t i) {
  if (type == DType::f32) return static_cast<const float*>(data)[i];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[i];
  return type == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

void store(void* data, DType type, std::size_t i, float value) {
  if (type == DType::f32) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<std::uint16_t*>(data)[i] =
        type == DType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
  }
}

}  // namespace

void convert(const void* from, DType from_type, void* to, DType to_type, std::size_t count) {
  if (from_type == DType::i8 || to_type == DType::i8) {
    throw Error(ErrorCode::internal, "i8 without the scales of its rows");
  }
  if (from_type == to_type) {
    if (count > 0) std::memcpy(to, from, count * size_of(from_type));
    return;
  }
  for (std::size_t i = 0; i < count; ++i) store(to, to_type, i, load(from, from_type, i));
}

}  // namespace spd
