// str.format and its format specifications.
#include <algorithm>
#include <cmath>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/attributes.h"
#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/formatting.h"
#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/printing.h"
#include "model/tokenizer/jinja/real.h"

namespace spd::jinja {
namespace {

constexpr int kMostPrecision = 1'000;

bool is_digit_text(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// [[fill]align][sign][#][0][width][grouping][.precision][type]
struct Specification {
  std::string fill = " ";
  char align = 0, sign = '-', grouping = 0, type = 0;
  bool zeros = false;  ///< a 0 before the width: numbers are filled after their sign
  bool alternate = false;
  std::int64_t width = 0;
  int precision = -1;
};

int read_number(std::string_view text, std::size_t& at) {
  std::int64_t number = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    number = number * 10 + (text[at] - '0');
    if (number > INT32_MAX) fail("Too many decimal digits in format string");
  }
  return static_cast<int>(number);
}

Specification read_specification(std::string_view text) {
  constexpr std::string_view kAligns = "<>=^";
  Specification to;
  std::size_t at = 0;
  const auto is = [&](std::size_t where, std::string_view choices) {
    return where < text.size() && choices.find(text[where]) != choices.npos;
  };
  const std::size_t first = text.empty() ? 0 : code_point_at(text, 0).bytes;
  if (!text.empty() && is(first, kAligns)) {
    to.fill = text.substr(0, first);
    to.align = text[first];
    at = first + 1;
  } else if (is(0, kAligns)) {
    to.align = text[at++];
  }
  if (is(at, "+- ")) to.sign = text[at++];
  if (is(at, "z")) fail("format specification 'z' is not supported");
  if (is(at, "#")) to.alternate = text[at++] == '#';
  if (is(at, "0")) {
    ++at;
    to.zeros = to.align == 0;
    const bool fill_was_given = to.fill != " " || (first != 0 && is(first, kAligns));
    if (to.zeros || !fill_was_given) to.fill = "0";
  }
  to.width = read_number(text, at);
  if (is(at, ",_")) to.grouping = text[at++];
  if (is(at, ".")) {
    ++at;
    if (!is(at, "0123456789")) fail("Format specifier missing precision");
    to.precision = read_number(text, at);
  }
  if (at < text.size()) to.type = text[at++];
  if (at < text.size()) fail("Invalid format specifier '" + std::string(text) + "'");
  return to;
}

std::string fill_up(Rendering& rendering, const Specification& to, const std::string& sign,
                    const std::string& body, char default_align) {
  const auto length = static_cast<std::int64_t>(code_points(sign) + code_points(body));
  const auto missing = static_cast<std::uint64_t>(std::max<std::int64_t>(0, to.width - length));
  rendering.check_size(missing * to.fill.size());
  rendering.touch(missing);
  const bool after_sign = to.zeros && default_align == '>';
  const char align = after_sign ? '=' : to.align == 0 ? default_align : to.align;
  const std::uint64_t before = align == '>' || align == '=' ? missing
                               : align == '^'               ? missing / 2
                                                            : 0;
  std::string left;
  std::string right;
  for (std::uint64_t at = 0; at < before; ++at) left += to.fill;
  for (std::uint64_t at = before; at < missing; ++at) right += to.fill;
  return align == '=' ? sign + left + body : left + sign + body + right;
}

/// Separators between groups of digits of the whole part.
std::string group(const std::string& digits, char separator, std::size_t every) {
  const std::size_t whole =
      std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string grouped;
  for (std::size_t at = 0; at < whole; ++at) {
    if (at != 0 && (whole - at) % every == 0) grouped += separator;
    grouped += digits[at];
  }
  return grouped + digits.substr(whole);
}

std::string sign_of(const Specification& to, bool negative) {
  return negative ? "-" : to.sign == '-' ? "" : std::string(1, to.sign);
}

void check_grouping(const Specification& to) {
  if (to.grouping != 0 && to.fill == "0" && (to.zeros || to.align == '=')) {
    fail("a format specification with both zeros and separators is not supported");
  }
}

std::string format_real(Rendering& rendering, double number, Specification to) {
  if (to.precision > kMostPrecision) fail("precision too large");
  check_grouping(to);
  const bool negative = std::signbit(number) && !std::isnan(number);
  double magnitude = std::fabs(number);
  std::string suffix;
  if (to.type == '%') {
    magnitude *= 100;
    to.type = 'f';
    suffix = "%";
  }
  if (to.type == 'n') fail("format specification 'n' is not supported");
  std::string digits;
  if (to.type == 0 && to.precision < 0) {
    digits = real_repr(magnitude);
  } else if (to.type == 0) {
    fail("a format specification with a precision and no type is not supported");
  } else {
    const int precision = to.precision < 0 ? 6 : to.precision;
    digits = real_digits(rendering, magnitude, {to.type, to.alternate, precision});
  }
  if (to.grouping != 0) digits = group(digits, to.grouping, 3);
  return fill_up(rendering, to, sign_of(to, negative), digits + suffix, '>');
}

std::string format_integer(Rendering& rendering, const Value& value, const Specification& to) {
  constexpr std::string_view kReal = "eEfFgG%";
  if (to.type != 0 && kReal.find(to.type) != kReal.npos) {
    return format_real(rendering, to_real(value), to);
  }
  if (to.precision >= 0) fail("Precision not allowed in integer format specifier");
  check_grouping(to);
  if (to.type == 'c' || to.type == 'n') {
    fail(std::string("format specification '") + to.type + "' is not supported");
  }
  const bool negative = compare_integers(value, std::int64_t{0}) < 0;
  const char type = to.type == 0 ? 'd' : to.type;
  if (to.grouping == ',' && type != 'd')
    fail("Cannot specify ',' with '" + std::string(1, type) + "'.");
  std::string digits = integer_digits(rendering, negative ? negate_integer(value) : value, {type});
  if (to.grouping != 0) digits = group(digits, to.grouping, type == 'd' ? 3 : 4);
  std::string sign = sign_of(to, negative);
  if (to.alternate && type != 'd') sign += std::string("0") + type;
  return fill_up(rendering, to, sign, digits, '>');
}

std::string format_text(Rendering& rendering, const Text& value, const Specification& to) {
  if (to.sign != '-' || to.alternate || to.grouping != 0 || to.align == '=') {
    fail("a format specification for numbers, given to a 'str'");
  }
  std::string text = value.bytes;
  if (to.precision >= 0) text.resize(offset_of(text, static_cast<std::size_t>(to.precision)));
  return fill_up(rendering, to, "", text, '<');
}

std::string format_value(Rendering& rendering, const Value& value, std::string_view specification) {
  if (specification.empty()) return to_str(rendering, value);
  if (value.text() != nullptr && value.text()->markup) {
    fail("formatting escaped text is not supported");
  }
  constexpr std::string_view kTypes = "bcdeEfFgGnosxX%";
  const Specification to = read_specification(specification);
  const bool number = value.is_number();
  const bool known = to.type == 0 || (kTypes.find(to.type) != kTypes.npos &&
                                      (value.text() ? to.type == 's' : to.type != 's'));
  const bool integral = value.real() != nullptr &&
                        std::string_view("bcdoxX").find(to.type) != std::string_view::npos &&
                        to.type != 0;
  if (!known || integral) {
    fail(std::string("Unknown format code '") + to.type + "' for object of type '" +
         type_name(value) + "'");
  }
  if (value.text() != nullptr) return format_text(rendering, *value.text(), to);
  if (!number) {
    fail("unsupported format string passed to " + type_name(value) + ".__format__");
  }
  if (value.real() != nullptr) return format_real(rendering, *value.real(), to);
  return format_integer(rendering, value, to);
}

class Formatter {
 public:
  Formatter(Rendering& rendering, const Arguments& arguments)
      : rendering_(rendering), arguments_(arguments) {}

  std::string run(std::string_view text, int nesting = 2) {
    if (nesting < 0) fail("Max string recursion exceeded");
    std::string result;
    for (std::size_t at = 0; at < text.size();) {
      const char c = text[at];
      if ((c == '{' || c == '}') && at + 1 < text.size() && text[at + 1] == c) {
        result += c;
        at += 2;
      } else if (c == '}') {
        fail("Single '}' encountered in format string");
      } else if (c == '{') {
        const std::size_t end = closing(text, at);
        result += field(text.substr(at + 1, end - at - 1), nesting);
        at = end + 1;
      } else {
        result += c;
        ++at;
      }
      rendering_.check_size(result.size());
    }
    rendering_.touch(result.size());
    return result;
  }

 private:
  static std::size_t closing(std::string_view text, std::size_t at) {
    int depth = 0;
    bool in_brackets = false;
    bool in_specification = false;
    for (std::size_t end = at; end < text.size(); ++end) {
      const char c = text[end];
      if (in_brackets) {
        in_brackets = c != ']';
        continue;
      }
      if (c == '[' && !in_specification) in_brackets = true;
      if (c == ':') in_specification = true;
      if (c == '{') ++depth;
      if (c == '}' && --depth == 0) return end;
    }
    fail("expected '}' before end of string");
  }

  std::string field(std::string_view text, int nesting) {
    rendering_.step();
    std::size_t end = 0;
    bool in_brackets = false;
    for (; end < text.size() && (in_brackets || (text[end] != '!' && text[end] != ':')); ++end) {
      if (text[end] == '[') in_brackets = true;
      if (text[end] == ']') in_brackets = false;
      if (text[end] == '{') fail("unexpected '{' in field name");
    }
    Value value = look_up(text.substr(0, end));
    std::string_view rest = text.substr(end);
    if (rest.starts_with('!')) {
      if (rest.size() < 2) fail("end of string while looking for conversion specifier");
      value = converted(value, rest[1]);
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') fail("expected ':' after conversion specifier");
    }
    if (!rest.empty()) rest.remove_prefix(1);
    return format_value(rendering_, value, run(rest, nesting - 1));
  }

  Value converted(const Value& value, char conversion) {
    if (conversion == 's') return rendering_.text(to_str(rendering_, value));
    if (conversion == 'r') return rendering_.text(to_repr(rendering_, value));
    fail(std::string("conversion '!") + conversion + "' is not supported");
  }

  Value look_up(std::string_view path) {
    const std::size_t end = std::min(path.find_first_of(".["), path.size());
    Value value = first(path.substr(0, end));
    path.remove_prefix(end);
    while (!path.empty()) {
      if (path[0] == '.') {
        const std::size_t stop = std::min(path.find_first_of(".[", 1), path.size());
        if (stop == 1) fail("Empty attribute in format string");
        value = attribute_of(rendering_, value, std::string(path.substr(1, stop - 1)));
        path.remove_prefix(stop);
      } else if (path[0] == '[') {
        const std::size_t stop = path.find(']');
        if (stop == path.npos) fail("Missing ']' in format string");
        const std::string_view key = path.substr(1, stop - 1);
        if (key.empty()) fail("Empty attribute in format string");
        value = item_of(rendering_, value,
                        is_digit_text(key) ? index(key) : rendering_.text(std::string(key)));
        path.remove_prefix(stop + 1);
      } else {
        fail("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  Value index(std::string_view digits) {
    if (digits.size() > 18) fail("Too many decimal digits in format string");
    return static_cast<std::int64_t>(std::stoll(std::string(digits)));
  }

  Value first(std::string_view name) {
    if (name.empty() || is_digit_text(name)) {
      if (!name.empty() ? automatic_ == Numbering::automatic : automatic_ == Numbering::manual) {
        fail("cannot switch between manual field specification and automatic field numbering");
      }
      automatic_ = name.empty() ? Numbering::automatic : Numbering::manual;
      const auto at = name.empty() ? next_++ : static_cast<std::size_t>(*index(name).small());
      if (at >= arguments_.positional.size()) {
        fail("Replacement index " + std::to_string(at) + " out of range for positional args tuple");
      }
      return arguments_.positional[at];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    fail("format() misses the value '" + std::string(name) + "'");
  }

  enum class Numbering { unknown, automatic, manual };
  Rendering& rendering_;
  const Arguments& arguments_;
  Numbering automatic_ = Numbering::unknown;
  std::size_t next_ = 0;
};

}  // namespace

Value str_format(Rendering& rendering, const Value& text, const Arguments& arguments) {
  if (text.text()->markup) fail("format() of escaped text is not supported");
  return rendering.text(Formatter(rendering, arguments).run(text.text()->bytes));
}

}  // namespace spd::jinja
