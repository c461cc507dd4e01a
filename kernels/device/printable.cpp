#include "kernels/device/printable.h"

#include <fmt/format.h>

#include <cstdint>

#include "kernels/device/utf8.h"

namespace spd {
namespace {

bool steers_terminal(char32_t value) {
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
    if (well_formed_length(text, at) < 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at]));
      ++at;
      continue;
    }
    const CodePoint c = code_point_at(text, at);
    if (steers_terminal(c.value)) {
      const auto value = static_cast<std::uint32_t>(c.value);
      out += value < 0x80 ? fmt::format("\\x{:02x}", value) : fmt::format("\\u{:04x}", value);
    } else {
      out += text.substr(at, c.bytes);
    }
    at += c.bytes;
  }
  return out;
}

}  // namespace spd
