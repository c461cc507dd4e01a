#include <fmt/format.h>

#include <optional>
#include <string_view>

#include "model/tokenizer/regex_class.h"
#include "model/tokenizer/regex_escape.h"

namespace spd {
namespace {

// Deeper than any class that people write; bounds the recursion.
constexpr int kMaxDepth = 100;

[[noreturn]] void refuse_fold(const RegexCursor& cursor, std::size_t place) {
  cursor.not_supported(place, "ignoring case in a class of more than ASCII characters");
}

void posix(RegexCursor& cursor, RegexClass& set, bool ignore_case, std::size_t place) {
  const bool all_but = cursor.take("^");
  const std::size_t end = cursor.pattern.find(":]", cursor.at);
  const std::string name =
      end == std::string::npos ? "" : cursor.pattern.substr(cursor.at, end - cursor.at);
  const std::string items = posix_items(name);
  if (items.empty()) cursor.not_supported(place, "this bracket within a class");
  if (ignore_case) refuse_fold(cursor, place);
  cursor.at = end + 2;
  set.add(items, all_but);
}

// One character; none for a set, which is added.
std::optional<char32_t> class_character(RegexCursor& cursor, RegexClass& set, bool ignore_case,
                                        std::size_t place) {
  char32_t c = 0;
  if (cursor.next_is("\\")) {
    const RegexEscape escape = take_escape(cursor, true);
    if (!escape.character) {
      const bool caseless = escape.items == kSpaceItems || escape.items == R"(\p{Nd})";
      if (ignore_case && !caseless) refuse_fold(cursor, place);
      set.add(escape.items, escape.all_but);
      return std::nullopt;
    }
    c = *escape.character;
  } else {
    c = cursor.take_character();
  }
  if (ignore_case && c >= 0x80) refuse_fold(cursor, place);
  return c;
}

// A character, a range or an escaped set.
void class_item(RegexCursor& cursor, RegexClass& set, bool ignore_case, std::size_t place) {
  const std::optional<char32_t> low = class_character(cursor, set, ignore_case, place);
  if (!low) {
    if (cursor.next_is("-") && !cursor.next_is("-]"))
      cursor.not_supported(cursor.at, "a range that begins with a set");
    return;
  }
  const bool dash_itself = cursor.pattern[place] == '-';
  const std::string_view before = std::string_view(cursor.pattern).substr(0, place);
  const bool first = before.ends_with('[') || before.ends_with("[^");
  if (dash_itself && !cursor.next_is("]") && !first) {
    cursor.not_supported(place, "a bare - within a class (write \\-)");
  }
  if (!cursor.next_is("-") || cursor.next_is("-]")) {
    set.items += literal_text(*low);
    return;
  }
  ++cursor.at;
  const std::size_t high_place = cursor.at;
  if (cursor.ended() || cursor.next_is("[") || cursor.next_is("&&") || dash_itself) {
    cursor.not_supported(high_place, "this end of a range");
  }
  RegexClass unused;
  const std::optional<char32_t> high = class_character(cursor, unused, ignore_case, high_place);
  if (!high || *high < *low || (cursor.pattern[high_place] == '-')) {
    cursor.not_supported(high_place, "this end of a range");
  }
  set.items += literal_text(*low) + "-" + literal_text(*high);
  if (cursor.next_is("-") && !cursor.next_is("-]"))
    cursor.not_supported(cursor.at, "a range after a range");
}

}  // namespace

RegexClass take_class(RegexCursor& cursor, bool ignore_case, int depth) {
  const std::size_t begin = cursor.at - 1;
  if (depth > kMaxDepth) cursor.refuse(begin, "classes nest too deeply");
  RegexClass set;
  set.negated = cursor.take("^");
  if (cursor.next_is("]"))
    cursor.not_supported(cursor.at, "a class that begins with ] (write \\])");
  bool side_empty = true;
  while (!cursor.take("]")) {
    if (cursor.ended()) cursor.refuse(begin, "the class does not end");
    const std::size_t place = cursor.at;
    if (cursor.take("&&")) {
      if (ignore_case) refuse_fold(cursor, place);
      if (side_empty || cursor.next_is("]"))
        cursor.not_supported(place, "an intersection with nothing");
      set.intersect();
      side_empty = true;
      continue;
    }
    side_empty = false;
    if (cursor.take("[:")) {
      posix(cursor, set, ignore_case, place);
    } else if (cursor.take("[")) {
      const RegexClass inner = take_class(cursor, ignore_case, depth + 1);
      // Oniguruma folds what the inner class leaves in: of [[^a]] the A, and with it the a.
      if (ignore_case && inner.negated) refuse_fold(cursor, place);
      set.sets.push_back(inner.text());
    } else {
      class_item(cursor, set, ignore_case, place);
    }
  }
  return set;
}

}  // namespace spd
