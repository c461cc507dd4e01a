// Safetensors files as text, good and bad.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace spd {

/// The eight bytes that a file begins with.
inline std::string length_prefix(std::uint64_t header_bytes) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += static_cast<char>(header_bytes >> (8 * i));
  return text;
}

/// A file with this header, whatever it says, and this data.
inline std::string safetensors_text(std::string_view header, std::string_view data) {
  return length_prefix(header.size()) + std::string(header) + std::string(data);
}

}  // namespace spd
