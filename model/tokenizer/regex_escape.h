// Escapes of regular expressions: what stands behind a backslash.
#pragma once

#include <optional>
#include <string>

#include "model/tokenizer/regex_cursor.h"

namespace spd {

/// What an escape stands for: one character, a set of them, or a place or more than one character.
struct RegexEscape {
  std::optional<char32_t> character;
  std::string items;  ///< of a set, as RegexClass holds them
  bool all_but = false;
  std::string text;  ///< as PCRE2 says it outside of classes, where neither of the above
  bool repeatable = true;
};

/// Reads the escape at the cursor's backslash. `in_class`: within brackets, where places are none.
RegexEscape take_escape(RegexCursor& cursor, bool in_class);

/// A character that means itself, as PCRE2 writes it within classes and outside.
std::string literal_text(char32_t c);

}  // namespace spd
