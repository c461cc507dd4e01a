// UTF-8: code points of text that is valid, and what is made of text that is not.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace spd {

struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 1;  ///< its length in UTF-8
};

/// The code point that starts at byte `at` of valid UTF-8.
CodePoint code_point_at(std::string_view text, std::size_t at);
/// Where the code point that ends before byte `at` (> 0) of valid UTF-8 starts.
std::size_t code_point_before(std::string_view text, std::size_t at);
/// Length of the well-formed sequence at byte `at` of any text; minus the length of the ill-formed
/// part there, where it is none.
std::ptrdiff_t well_formed_length(std::string_view text, std::size_t at);
void append_utf8(std::string& text, char32_t code_point);

/// `text` with U+FFFD for every maximal part of an ill-formed sequence (Unicode 15.0, section 3.9,
/// as Python's errors="replace" and the Encoding Standard do).
std::string replace_invalid_utf8(std::string_view text);
/// How much of `text` comes before a sequence at its end that further bytes can make a character
/// of. replace_invalid_utf8() of it does not depend on what follows.
std::size_t whole_characters(std::string_view text);
/// Whether the byte is a character's second or later one.
bool is_continuation(char byte);
/// Where the first ill-formed sequence starts; npos where there is none.
std::size_t invalid_utf8_at(std::string_view text);
bool is_ascii(std::string_view text);
/// `text` without the byte order mark (U+FEFF) that some programs put before UTF-8.
std::string_view without_bom(std::string_view text);

}  // namespace spd
