// A place in a regular expression that is being read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace spd {

struct RegexCursor {
  const std::string& pattern;  ///< valid UTF-8
  std::size_t at = 0;

  bool ended() const { return at >= pattern.size(); }
  bool next_is(std::string_view text) const { return pattern.compare(at, text.size(), text) == 0; }
  /// Goes on behind `text`, if that is what comes next.
  bool take(std::string_view text);
  /// The next character; there must be one.
  char32_t take_character();

  /// Throws input Error that names the pattern, the byte and the problem.
  [[noreturn]] void refuse(std::size_t place, const std::string& problem) const;
  /// The same for what Oniguruma knows and this program does not.
  [[noreturn]] void not_supported(std::size_t place, const std::string& what) const;
};

}  // namespace spd
