// The byte-level alphabet of GPT-2: every byte as one printable character.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace spd {

/// `bytes` with each byte as its character: printable ones as themselves, the 68 others as U+0100
/// and up, in order.
void append_byte_level(std::string& out, std::string_view bytes);
/// The bytes that the characters stand for; none where a character stands for no byte.
std::optional<std::string> bytes_of_byte_level(std::string_view text);

}  // namespace spd
