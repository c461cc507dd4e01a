// Python's idea of characters and of strings' methods that ask what a character is, over UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace spd::jinja {

/// The number of code points of valid UTF-8.
std::size_t code_points(std::string_view text);
/// Where code point `index` starts; the text's size for its length.
std::size_t offset_of(std::string_view text, std::size_t index);

/// str.isspace of one character: more than Unicode's White_Space by U+001C to U+001F.
bool is_space_in_python(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
/// Decimal digits and those of other writing: superscripts, circled digits.
bool is_digit(char32_t c);
bool is_numeric_in_python(char32_t c);
bool is_alnum(char32_t c);
bool is_lower(char32_t c);
bool is_upper(char32_t c);
bool is_titlecase(char32_t c);
/// False for what repr() escapes.
bool is_printable(char32_t c);
/// What ends a line for str.splitlines.
bool is_line_end(char32_t c);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
/// str.title: a word starts after a character without case.
std::string title(std::string_view text);
std::string swapcase(std::string_view text);

/// Characters of `text` that str.strip takes from the chosen ends: those in `chars`, or white space
/// where that is nullptr.
std::string_view strip(std::string_view text, const std::string_view* chars, bool left, bool right);

}  // namespace spd::jinja
