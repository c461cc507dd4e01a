// Python's printf-style formatting.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/formatting.h"
#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/printing.h"

namespace spd::jinja {
namespace {

constexpr int kMostPrecision = 1'000;

struct Directive {
  bool left = false, zero = false, plus = false, space = false, alternate = false;
  std::int64_t width = 0;
  int precision = -1;
  char conversion = 0;
};

class Formatter {
 public:
  Formatter(Rendering& rendering, std::string_view text, const Value& values)
      : rendering_(rendering), text_(text), values_(values) {}

  std::string run() {
    while (at_ < text_.size()) {
      const std::size_t mark = text_.find('%', at_);
      result_ += text_.substr(at_, mark - at_);
      if (mark == text_.npos) break;
      at_ = mark + 1;
      directive();
      rendering_.step();
      rendering_.check_size(result_.size());
    }
    const bool tuple = values_.tuple() != nullptr;
    const std::size_t given = tuple ? values_.tuple()->items.size() : 1;
    const bool mapping = !tuple && (values_.dict() != nullptr || values_.list() != nullptr ||
                                    values_.as<Object>() != nullptr);
    if (taken_ < given && !mapping && !named_) {
      fail("not all arguments converted during string formatting");
    }
    return std::move(result_);
  }

 private:
  char peek() const {
    if (at_ >= text_.size()) fail("incomplete format");
    return text_[at_];
  }

  Value next() {
    if (named_) return named_value_;
    const bool tuple = values_.tuple() != nullptr;
    if (taken_ >= (tuple ? values_.tuple()->items.size() : 1)) {
      fail("not enough arguments for format string");
    }
    const std::size_t at = taken_++;
    return tuple ? values_.tuple()->items[at] : values_;
  }

  void name() {
    named_ = false;
    if (peek() != '(') return;
    if (values_.dict() == nullptr) fail("format requires a mapping");
    std::size_t depth = 1;
    const std::size_t start = ++at_;
    for (; depth > 0; ++at_) {
      if (peek() == '(') ++depth;
      if (peek() == ')') --depth;
    }
    const std::string key(text_.substr(start, at_ - 1 - start));
    const Value* value = values_.dict()->find(key);
    if (value == nullptr) fail("the format string asks for '" + key + "', which is not given");
    named_value_ = *value;
    named_ = true;
  }

  std::int64_t number(bool is_width, Directive& into) {
    if (peek() == '*') {
      ++at_;
      const Value value = next();
      if (value.small() == nullptr) fail("* wants int");
      if (is_width && *value.small() < 0) into.left = true;
      return is_width ? std::abs(*value.small()) : std::max<std::int64_t>(0, *value.small());
    }
    std::int64_t number = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      number = number * 10 + (peek() - '0');
      if (number > INT32_MAX) fail("width or precision too big");
    }
    return number;
  }

  void directive() {
    Directive to;
    name();
    for (;; ++at_) {
      const char c = peek();
      if (c == '-') {
        to.left = true;
      } else if (c == '0') {
        to.zero = true;
      } else if (c == '+') {
        to.plus = true;
      } else if (c == ' ') {
        to.space = true;
      } else if (c == '#') {
        to.alternate = true;
      } else {
        break;
      }
    }
    to.width = number(true, to);
    if (peek() == '.') {
      ++at_;
      to.precision = static_cast<int>(std::min<std::int64_t>(number(false, to), INT32_MAX));
    }
    while (peek() == 'h' || peek() == 'l' || peek() == 'L') ++at_;
    to.conversion = peek();
    ++at_;
    if (to.conversion == '%') {
      result_ += '%';
      return;
    }
    convert(to, next());
  }

  void convert(const Directive& to, const Value& value) {
    switch (to.conversion) {
      case 's':
        return words(to, to_str(rendering_, value));
      case 'r':
        return words(to, to_repr(rendering_, value));
      case 'a':
        fail("%a is not supported");
      case 'c':
        return character(to, value);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return integer(to, value);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return real(to, value);
      default:
        fail(std::string("unsupported format character '") + to.conversion + "'");
    }
  }

  void words(const Directive& to, std::string text) {
    if (to.precision >= 0) text.resize(offset_of(text, static_cast<std::size_t>(to.precision)));
    fill(to, "", text, false);
  }

  void character(const Directive& to, const Value& value) {
    std::string text;
    if (value.text() != nullptr && value.text()->length == 1) {
      text = value.text()->bytes;
    } else if (const auto code = value.integer()) {
      const bool surrogate = *code >= 0xd800 && *code < 0xe000;
      if (*code < 0 || *code > 0x10ffff || surrogate) fail("%c arg not in range(0x110000)");
      append_utf8(text, static_cast<char32_t>(*code));
    } else {
      fail("%c requires int or char");
    }
    fill(to, "", text, false);
  }

  std::string sign_of(const Directive& to, bool negative) {
    return negative ? "-" : to.plus ? "+" : to.space ? " " : "";
  }

  void integer(const Directive& to, const Value& value) {
    Value whole = value;
    const bool decimal = to.conversion == 'd' || to.conversion == 'i' || to.conversion == 'u';
    if (value.real() != nullptr && decimal) whole = from_real(*value.real());
    if (!whole.is_integer()) {
      if (value.undefined() != nullptr) fail(value.undefined()->message);
      fail(std::string("%") + to.conversion + " format: " +
           (decimal ? "a real number" : "an integer") + " is required, not " + type_name(value));
    }
    if (to.precision > kMostPrecision) fail("precision too large");
    const bool negative = compare_integers(whole, std::int64_t{0}) < 0;
    const char conversion = decimal ? 'd' : to.conversion;
    std::string digits =
        integer_digits(rendering_, negative ? negate_integer(whole) : whole, {conversion});
    const auto wanted = static_cast<std::size_t>(std::max(0, to.precision));
    if (digits.size() < wanted) digits.insert(0, wanted - digits.size(), '0');
    std::string sign = sign_of(to, negative);
    if (to.alternate && !decimal) sign += std::string("0") + to.conversion;
    fill(to, sign, digits, true);
  }

  void real(const Directive& to, const Value& value) {
    if (value.undefined() != nullptr) fail(value.undefined()->message);
    if (!value.is_number()) fail("must be real number, not " + type_name(value));
    if (to.precision > kMostPrecision) fail("precision too large");
    const double number = value.real() != nullptr ? *value.real() : to_real(value);
    const NumberStyle style{to.conversion, to.alternate, to.precision < 0 ? 6 : to.precision};
    const bool negative = std::signbit(number) && !std::isnan(number);
    fill(to, sign_of(to, negative), real_digits(rendering_, std::fabs(number), style), true);
  }

  void fill(const Directive& to, const std::string& sign, const std::string& body, bool number) {
    const auto length = static_cast<std::int64_t>(sign.size() + code_points(body));
    const std::int64_t missing = std::max<std::int64_t>(0, to.width - length);
    rendering_.check_size(result_.size() + static_cast<std::uint64_t>(missing));
    rendering_.touch(static_cast<std::size_t>(missing) + body.size());
    const auto count = static_cast<std::size_t>(missing);
    if (to.left) {
      result_ += sign + body + std::string(count, ' ');
    } else if (to.zero && number) {
      result_ += sign + std::string(count, '0') + body;
    } else {
      result_ += std::string(count, ' ') + sign + body;
    }
  }

  Rendering& rendering_;
  std::string_view text_;
  const Value& values_;
  std::string result_;
  std::size_t at_ = 0;
  std::size_t taken_ = 0;
  bool named_ = false;
  Value named_value_;
};

}  // namespace

Value percent_format(Rendering& rendering, const Value& text, const Value& values) {
  if (text.text()->markup) fail("% on escaped text is not supported");
  return rendering.text(Formatter(rendering, text.text()->bytes, values).run());
}

std::string real_digits(Rendering&, double magnitude, const NumberStyle& style) {
  const bool capital = style.conversion < 'a';
  if (std::isnan(magnitude)) return capital ? "NAN" : "nan";
  if (std::isinf(magnitude)) return capital ? "INF" : "inf";
  std::array<char, 1'500> buffer{};
  const std::string format =
      std::string("%") + (style.alternate ? "#" : "") + ".*" + style.conversion;
  std::snprintf(buffer.data(), buffer.size(), format.c_str(), style.precision, magnitude);
  return buffer.data();
}

std::string integer_digits(Rendering& rendering, const Value& magnitude, const NumberStyle& style) {
  if (style.conversion == 'd') return to_decimal(rendering, magnitude);
  const int shift = style.conversion == 'o' ? 3 : style.conversion == 'b' ? 1 : 4;
  std::string digits;
  Big rest = to_big(magnitude);
  rendering.step(1 + msb(Big(rest + 1)) * msb(Big(rest + 1)) / 256);
  const char* letters = style.conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
  do {
    digits += letters[static_cast<unsigned>(rest & ((1U << shift) - 1))];
    rest >>= shift;
  } while (rest != 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

}  // namespace spd::jinja
