#include "kernels/device/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace spd {
namespace {

struct Scalar {
  std::uint32_t value = 0;
  std::size_t bytes = 0;  // 0: not UTF-8
};

Scalar scalar_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || at + bytes > text.size()) return {};
  std::uint32_t value = lead & (0xFFU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    value = value << 6 | (byte(i) & 0x3FU);
  }
  const bool overlong = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (overlong || surrogate || value > 0x10FFFF) return {};
  return {value, bytes};
}

bool steers_terminal(std::uint32_t value) {
  if (value == '\n' || value == '\t') return false;
  const bool turns_direction = value == 0x061C || (value >= 0x200E && value <= 0x200F) ||
                               (value >= 0x202A && value <= 0x202E) ||
                               (value >= 0x2066 && value <= 0x2069);
  return value < 0x20 || (value >= 0x7F && value < 0xA0) || turns_direction;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Scalar scalar = scalar_at(text, at);
    if (scalar.bytes == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at]));
    } else if (steers_terminal(scalar.value)) {
      out += scalar.value < 0x80 ? fmt::format("\\x{:02x}", scalar.value)
                                 : fmt::format("\\u{:04x}", scalar.value);
    } else {
      out += text.substr(at, scalar.bytes);
    }
    at += scalar.bytes == 0 ? 1 : scalar.bytes;
  }
  return out;
}

}  // namespace spd
