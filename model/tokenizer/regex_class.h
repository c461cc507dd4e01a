// Classes of characters in regular expressions: sets that nest and intersect.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/regex_cursor.h"

namespace spd {

// PCRE2's own \s has U+180E and its \w lacks marks and connectors: spell out what is meant. The
// superscripts and fractions of Latin-1 are word characters in Oniguruma where \w stands alone, but
// not within a class; those beyond Latin-1 never are.
inline constexpr std::string_view kSpaceItems =
    R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
inline constexpr std::string_view kWordItems =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
inline constexpr std::string_view kLatin1WordItems = R"(\xb2\xb3\xb9\xbc-\xbe)";

/// What a class holds: what PCRE2 says within brackets, and further sets that take a group to say.
struct RegexClass {
  std::string items;                ///< between PCRE2's brackets; may be empty
  std::vector<std::string> sets;    ///< expressions that match one character each
  std::vector<std::string> wholes;  ///< the sides of && that came before
  bool negated = false;

  /// Adds a set: `items` as they are, or all characters but those.
  void add(std::string_view set_items, bool all_but);
  /// Ends one side of && and begins the next.
  void intersect();
  /// An expression that matches one character.
  std::string text() const;

 private:
  std::string side() const;
};

/// Reads a class from behind its opening bracket. `depth`: how many are open around it. Throws
/// input Error, by pattern and byte, for what is malformed or not supported.
RegexClass take_class(RegexCursor& cursor, bool ignore_case, int depth);

/// The items of a POSIX class ("punct") or a property ("Lu", "Greek", "Alphabetic") in Oniguruma's
/// meaning; "" for a name that is not known or means something else in PCRE2.
std::string posix_items(std::string_view name);
std::string property_items(std::string_view name);

}  // namespace spd
