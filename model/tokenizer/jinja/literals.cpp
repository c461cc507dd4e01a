#include "model/tokenizer/jinja/literals.h"

#include <array>
#include <cstdio>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/real.h"

namespace spd::jinja {
namespace {

bool is_digit_of(char c, int base) {
  const int letter = c | 0x20;
  const int digit = c >= '0' && c <= '9'             ? c - '0'
                    : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
                                                     : 99;
  return digit < base;
}

/// Digits with single underscores between them, from `at`; where they end.
std::size_t digits_end(std::string_view text, std::size_t at, int base) {
  while (at < text.size()) {
    if (is_digit_of(text[at], base)) {
      ++at;
    } else if (text[at] == '_' && at + 1 < text.size() && is_digit_of(text[at + 1], base)) {
      at += 2;
    } else {
      break;
    }
  }
  return at;
}

/// Digits that start with one.
std::size_t number_end(std::string_view text, std::size_t at) {
  return at < text.size() && is_digit_of(text[at], 10) ? digits_end(text, at, 10) : at;
}

/// The end of a float, or `at`.
std::size_t real_end(std::string_view text, std::size_t at) {
  if (at > 0 && text[at - 1] == '.') return at;
  const std::size_t whole = number_end(text, at);
  if (whole == at) return at;
  std::size_t end = whole;
  if (end < text.size() && text[end] == '.') {
    const std::size_t fraction = number_end(text, end + 1);
    if (fraction != end + 1) end = fraction;
  }
  if (end < text.size() && (text[end] | 0x20) == 'e') {
    std::size_t power = end + 1;
    if (power < text.size() && (text[power] == '+' || text[power] == '-')) ++power;
    const std::size_t after = number_end(text, power);
    if (after != power) return after;
  }
  return end == whole ? at : end;
}

std::size_t integer_end(std::string_view text, std::size_t at, int& base) {
  base = 10;
  if (text[at] == '0' && at + 1 < text.size()) {
    const int letter = text[at + 1] | 0x20;
    const int other = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 0;
    if (other != 0) {
      const std::size_t end = digits_end(text, at + 2, other);
      if (end != at + 2) {
        base = other;
        return end;
      }
    }
  }
  if (text[at] != '0') return digits_end(text, at, 10);
  std::size_t end = at + 1;
  while (end < text.size() && (text[end] == '0' || (text[end] == '_' && end + 1 < text.size() &&
                                                    text[end + 1] == '0'))) {
    end += text[end] == '0' ? 1 : 2;
  }
  return end;
}

std::string without_underscores(std::string_view text) {
  std::string plain;
  for (const char c : text) {
    if (c != '_') plain += c;
  }
  return plain;
}

class Unescaper {
 public:
  explicit Unescaper(std::string_view text) : text_(text) {}

  std::string run() {
    while (at_ < text_.size()) {
      if (text_[at_] != '\\') {
        result_ += text_[at_++];
        continue;
      }
      ++at_;
      escape();
    }
    return std::move(result_);
  }

 private:
  void escape() {
    constexpr std::string_view kLetters = "\\'\"abfnrtv";
    constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    if (at_ == text_.size()) fail("\\ at end of string");
    const CodePoint c = code_point_at(text_, at_);
    const char letter = text_[at_];
    if (c.value >= 0x80) return beyond_ascii(c);
    if (const std::size_t which = kLetters.find(letter); which != kLetters.npos) {
      result_ += kMeanings[which];
      ++at_;
    } else if (letter == '\n') {
      ++at_;
    } else if (letter >= '0' && letter <= '7') {
      octal();
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      ++at_;
      hexadecimal(letter == 'x' ? 2 : letter == 'u' ? 4 : 8);
    } else if (letter == 'N') {
      fail("\\N escapes are not supported");
    } else {
      result_ += '\\';
    }
  }

  /// Jinja writes such a character as an escape before it reads the escapes: the backslash before
  /// it becomes that of "\\".
  void beyond_ascii(CodePoint c) {
    std::array<char, 16> buffer{};
    const char* format = c.value < 0x100 ? "\\x%02x" : c.value < 0x10000 ? "\\u%04x" : "\\U%08x";
    std::snprintf(buffer.data(), buffer.size(), format, static_cast<unsigned>(c.value));
    result_ += buffer.data();
    at_ += c.bytes;
  }

  void octal() {
    unsigned value = 0;
    for (int count = 0; count < 3 && at_ < text_.size() && is_digit_of(text_[at_], 8); ++count) {
      value = value * 8 + static_cast<unsigned>(text_[at_++] - '0');
    }
    append_utf8(result_, value);
  }

  void hexadecimal(int digits) {
    std::uint32_t value = 0;
    for (; digits > 0; --digits) {
      if (at_ == text_.size() || !is_digit_of(text_[at_], 16)) fail("truncated escape in a string");
      const char c = text_[at_++];
      value = value * 16 + static_cast<std::uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (value > 0x10ffff) fail("illegal Unicode character in a string");
    if (value >= 0xd800 && value < 0xe000) fail("a surrogate in a string is not supported");
    append_utf8(result_, value);
  }

  std::string_view text_;
  std::string result_;
  std::size_t at_ = 0;
};

}  // namespace

NumberLiteral read_number(Rendering& rendering, std::string_view source, std::size_t at) {
  if (!is_digit_of(source[at], 10)) return {};
  if (const std::size_t end = real_end(source, at); end != at) {
    const std::string plain = without_underscores(source.substr(at, end - at));
    return {end - at, *parse_real(plain)};
  }
  int base = 10;
  const std::size_t end = integer_end(source, at, base);
  const std::size_t prefix = base == 10 ? 0 : 2;
  const std::string plain = without_underscores(source.substr(at + prefix, end - at - prefix));
  const auto value = parse_integer(rendering, plain, base);
  if (!value) fail("Exceeds the limit (4300 digits) for integer string conversion");
  return {end - at, *value};
}

std::string unescape(std::string_view text) { return Unescaper(text).run(); }

}  // namespace spd::jinja
