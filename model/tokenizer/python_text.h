// Python's str methods of these names, on valid UTF-8: lm-evaluation-harness makes its prompts with
// them.
#pragma once

#include <string>
#include <string_view>

namespace spd {

/// str.isspace of one character: Unicode's White_Space and U+001C to U+001F.
bool is_python_space(char32_t code_point);

/// str.lstrip, str.rstrip and str.strip without arguments; views of `text`.
std::string_view python_lstrip(std::string_view text);
std::string_view python_rstrip(std::string_view text);
std::string_view python_strip(std::string_view text);

/// str.capitalize: the first character in title case, all others small, with the mappings to
/// several characters ("ß" to "Ss") and the small sigma of a word's end.
std::string python_capitalize(std::string_view text);

}  // namespace spd
