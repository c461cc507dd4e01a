#include "comm/wire_format.h"

#include <fmt/format.h>

#include <cstring>

#include "comm/wire_kernels.h"
#include "kernels/device/error.h"

namespace spd {

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
  if (format != WireFormat::f32) return encode_blocks(format, from, count, to);
  std::memcpy(to, from, count * sizeof(float));
}

void decode(WireFormat format, const std::byte* from, std::size_t count, float* to) {
  if (format != WireFormat::f32) return decode_blocks(format, from, count, to);
  std::memcpy(to, from, count * sizeof(float));
}

void decode_add(WireFormat format, const std::byte* from, std::size_t count, float* to) {
  if (format != WireFormat::f32) return decode_add_blocks(format, from, count, to);
  for (std::size_t i = 0; i < count; ++i) {
    float value;
    std::memcpy(&value, from + i * sizeof(float), sizeof value);
    to[i] += value;
  }
}

void round_trip(WireFormat format, float* data, std::size_t count) {
  if (format != WireFormat::f32) round_trip_blocks(format, data, count);
}

}  // namespace spd
