#include "model/tokenizer/regex_escape.h"

#include <fmt/format.h>

#include <cctype>
#include <cstdint>
#include <utility>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "kernels/device/utf8.h"
#include "model/tokenizer/regex_class.h"

namespace spd {

bool RegexCursor::take(std::string_view text) {
  if (!next_is(text)) return false;
  at += text.size();
  return true;
}

char32_t RegexCursor::take_character() {
  const CodePoint c = code_point_at(pattern, at);
  at += c.bytes;
  return c.value;
}

void RegexCursor::refuse(std::size_t place, const std::string& problem) const {
  throw Error(ErrorCode::input, fmt::format("regular expression /{}/, byte {}: {}",
                                            printable(pattern), place, problem));
}

void RegexCursor::not_supported(std::size_t place, const std::string& what) const {
  refuse(place, what + " is not supported");
}

std::string literal_text(char32_t c) {
  const bool plain = c >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) != 0 || c == ' ';
  if (!plain) return fmt::format("\\x{{{:x}}}", static_cast<std::uint32_t>(c));
  std::string text;
  append_utf8(text, c);
  return text;
}

namespace {

// Two digits say a byte, which beyond ASCII is a piece of a character.
char32_t ascii(const RegexCursor& cursor, std::size_t begin, char32_t code) {
  if (code >= 0x80) cursor.not_supported(begin, "a byte beyond ASCII (write \\x{...})");
  return code;
}

char32_t take_digits(RegexCursor& cursor, std::size_t begin, int base, std::size_t least,
                     std::size_t most) {
  std::uint64_t value = 0;
  std::size_t count = 0;
  for (; count < most && !cursor.ended(); ++count, ++cursor.at) {
    const auto c = static_cast<unsigned char>(cursor.pattern[cursor.at]);
    const int digit = std::isdigit(c) != 0    ? c - '0'
                      : std::isxdigit(c) != 0 ? std::tolower(c) - 'a' + 10
                                              : 16;
    if (digit >= base) break;
    value = value * static_cast<unsigned>(base) + static_cast<unsigned>(digit);
  }
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  if (count < least || value > 0x10FFFF || surrogate)
    cursor.refuse(begin, "not the code of a character");
  return static_cast<char32_t>(value);
}

// \xHH, \x{H...}, \uHHHH, \o{O...}.
char32_t take_code(RegexCursor& cursor, std::size_t begin, char32_t kind) {
  constexpr std::size_t kMostDigits = 11;
  if (kind == 'u') return take_digits(cursor, begin, 16, 4, 4);
  if (cursor.take("{")) {
    const char32_t code = take_digits(cursor, begin, kind == 'o' ? 8 : 16, 1, kMostDigits);
    if (!cursor.take("}")) cursor.refuse(begin, "not the code of one character");
    return code;
  }
  if (kind == 'o') cursor.not_supported(begin, "\\o without braces");
  return ascii(cursor, begin, take_digits(cursor, begin, 16, 1, 2));
}

char32_t take_octal(RegexCursor& cursor, std::size_t begin) {
  return ascii(cursor, begin, take_digits(cursor, begin, 8, 0, 2));
}

RegexEscape property(RegexCursor& cursor, std::size_t begin, bool all_but, bool in_class) {
  if (!cursor.take("{")) cursor.refuse(begin, "a property needs a name in braces");
  const std::size_t end = cursor.pattern.find('}', cursor.at);
  if (end == std::string::npos) cursor.refuse(begin, "the property's name does not end");
  if (cursor.take("^")) all_but = !all_but;
  const std::string name = cursor.pattern.substr(cursor.at, end - cursor.at);
  std::string items = property_items(name);
  if (items == kWordItems && !in_class) items += kLatin1WordItems;
  if (items.empty()) cursor.not_supported(begin, fmt::format("the property {}", printable(name)));
  cursor.at = end + 1;
  return {std::nullopt, std::move(items), all_but, {}, true};
}

// Escapes that stand for places, or for more than one character.
std::optional<RegexEscape> place_escape(char32_t c) {
  const auto text = [](std::string value, bool repeatable) {
    return RegexEscape{std::nullopt, {}, false, std::move(value), repeatable};
  };
  const std::string word = fmt::format("[{}{}]", kWordItems, kLatin1WordItems);
  switch (c) {
    case 'A':
      return text(R"(\A)", false);
    case 'z':
      return text(R"(\z)", false);
    case 'Z':
      return text(R"((?=\x0a?\z))", false);
    case 'b':
      return text(fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word), false);
    case 'B':
      return text(fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word), false);
    case 'R':
      return text(R"((?>\x0d\x0a|[\x0a-\x0d\x{85}\x{2028}\x{2029}]))", true);
    case 'N':
      return text(R"([^\x0a])", true);
    case 'O':
      return text("(?s:.)", true);
    default:
      return std::nullopt;
  }
}

}  // namespace

RegexEscape take_escape(RegexCursor& cursor, bool in_class) {
  const std::size_t begin = cursor.at++;
  if (cursor.ended()) cursor.refuse(begin, "a backslash at the end");
  const char32_t c = cursor.take_character();
  const auto character = [](char32_t value) { return RegexEscape{value, {}, false, {}, true}; };
  const auto set = [&](std::string_view items, bool all_but) {
    return RegexEscape{std::nullopt, std::string(items), all_but, {}, true};
  };
  const std::string word =
      in_class ? std::string(kWordItems) : fmt::format("{}{}", kWordItems, kLatin1WordItems);
  switch (c) {
    case 't':
      return character(0x09);
    case 'n':
      return character(0x0A);
    case 'v':
      return character(0x0B);
    case 'f':
      return character(0x0C);
    case 'r':
      return character(0x0D);
    case 'a':
      return character(0x07);
    case 'e':
      return character(0x1B);
    case 's':
    case 'S':
      return set(kSpaceItems, c == 'S');
    case 'w':
    case 'W':
      return set(word, c == 'W');
    case 'd':
    case 'D':
      return set(R"(\p{Nd})", c == 'D');
    case 'h':
    case 'H':
      return set("0-9A-Fa-f", c == 'H');
    case 'p':
    case 'P':
      return property(cursor, begin, c == 'P', in_class);
    case 'x':
    case 'u':
    case 'o':
      return character(take_code(cursor, begin, c));
    case '0':
      return character(take_octal(cursor, begin));
    default:
      break;
  }
  if (in_class && c == 'b') return character(0x08);
  if (!in_class) {
    if (std::optional<RegexEscape> place = place_escape(c)) return *place;
  }
  const bool is_letter = c < 0x80 && std::isalnum(static_cast<unsigned char>(c)) != 0;
  if (is_letter) cursor.not_supported(begin, fmt::format("\\{}", static_cast<char>(c)));
  return character(c);
}

}  // namespace spd
