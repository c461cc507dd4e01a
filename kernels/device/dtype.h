// Element types of weights and caches, and their host-side conversions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace spd {

/// i8 is for weights alone: integers of -127 to 127, times a power of two for each row (see
/// i8_scale and Weight), so that bf16 holds each of them as it is.
enum class DType : std::uint8_t { f32, bf16, f16, i8 };

constexpr std::size_t size_of(DType type) {
  return type == DType::f32 ? 4 : type == DType::i8 ? 1 : 2;
}
std::string_view name(DType type);
/// What models and caches may be kept in. Throws usage Error for a name that is none of f32, bf16,
/// f16.
DType parse_dtype(std::string_view text);

/// bfloat16: the upper half of a float.
inline float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}
/// Round to nearest even; NaN stays NaN.
std::uint16_t f32_to_bf16(float value);
float f16_to_f32(std::uint16_t bits);
/// Round to nearest even; beyond the range becomes infinity.
std::uint16_t f32_to_f16(float value);

/// What a row of i8 is multiplied by: the smallest power of two for which it holds all values.
float i8_scale(const float* row, std::size_t count);
/// The nearest that i8 holds at this scale, in units of it.
std::int8_t f32_to_i8(float value, float scale);

/// Converts `count` elements between any two of f32, bf16 and f16 (plain loops: for loading, not
/// for hot paths).
void convert(const void* from, DType from_type, void* to, DType to_type, std::size_t count);

}  // namespace spd
