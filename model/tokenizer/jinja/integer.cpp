#include "model/tokenizer/jinja/integer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {
namespace {

constexpr unsigned kMostBits = 1U << 18;
/// CPython refuses to print or read more.
constexpr std::size_t kMostDigits = 4'300;

unsigned bits(const Big& number) {
  return number == 0 ? 1 : static_cast<unsigned>(msb(abs(number))) + 1;
}

void check_bits(Rendering& rendering, std::uint64_t count) {
  if (count > kMostBits) rendering.too_much("digits of an integer");
}

/// Quadratic in the number of words.
void charge_product(Rendering& rendering, const Big& left, const Big& right) {
  rendering.step(1 + std::uint64_t{bits(left)} * bits(right) / 65'536);
}

Big require_divisor(const Value& value) {
  Big divisor = to_big(value);
  if (divisor == 0) fail("division by zero");
  return divisor;
}

}  // namespace

Big to_big(const Value& value) {
  if (const BigInteger* big = value.big()) return big->number;
  return *value.integer();
}

Value to_value(Big number) {
  if (number >= std::numeric_limits<std::int64_t>::min() &&
      number <= std::numeric_limits<std::int64_t>::max()) {
    return static_cast<std::int64_t>(number);
  }
  return std::make_shared<const BigInteger>(BigInteger{std::move(number)});
}

Value add_integers(const Value& left, const Value& right) {
  std::int64_t sum = 0;
  const auto a = left.integer();
  const auto b = right.integer();
  if (a && b && !__builtin_add_overflow(*a, *b, &sum)) return sum;
  return to_value(to_big(left) + to_big(right));
}

Value subtract_integers(const Value& left, const Value& right) {
  std::int64_t difference = 0;
  const auto a = left.integer();
  const auto b = right.integer();
  if (a && b && !__builtin_sub_overflow(*a, *b, &difference)) return difference;
  return to_value(to_big(left) - to_big(right));
}

Value multiply_integers(Rendering& rendering, const Value& left, const Value& right) {
  std::int64_t product = 0;
  const auto a = left.integer();
  const auto b = right.integer();
  if (a && b && !__builtin_mul_overflow(*a, *b, &product)) return product;
  const Big first = to_big(left);
  const Big second = to_big(right);
  check_bits(rendering, std::uint64_t{bits(first)} + bits(second));
  charge_product(rendering, first, second);
  return to_value(first * second);
}

Value floor_divide_integers(Rendering& rendering, const Value& left, const Value& right) {
  const Big dividend = to_big(left);
  const Big divisor = require_divisor(right);
  charge_product(rendering, dividend, divisor);
  Big quotient = dividend / divisor;
  if (dividend % divisor != 0 && (dividend < 0) != (divisor < 0)) --quotient;
  return to_value(quotient);
}

Value modulo_integers(Rendering& rendering, const Value& left, const Value& right) {
  const Big dividend = to_big(left);
  const Big divisor = require_divisor(right);
  charge_product(rendering, dividend, divisor);
  Big rest = dividend % divisor;
  if (rest != 0 && (rest < 0) != (divisor < 0)) rest += divisor;
  return to_value(rest);
}

Value power_of_integers(Rendering& rendering, const Value& base, const Value& exponent) {
  const Big of = to_big(base);
  const Big to = to_big(exponent);
  if (to == 0) return std::int64_t{1};
  if (of == 0 || of == 1) return to_value(of);
  if (of == -1) return std::int64_t{to % 2 == 0 ? 1 : -1};
  if (to > kMostBits) rendering.too_much("digits of an integer");
  const std::uint64_t size = std::uint64_t{bits(of)} * static_cast<unsigned>(to);
  check_bits(rendering, size);
  rendering.step(1 + size * size / 65'536);
  return to_value(pow(of, static_cast<unsigned>(to)));
}

Value negate_integer(const Value& value) { return to_value(-to_big(value)); }

int compare_integers(const Value& left, const Value& right) {
  const auto a = left.integer();
  const auto b = right.integer();
  if (a && b) return *a < *b ? -1 : *a > *b ? 1 : 0;
  const int order = to_big(left).compare(to_big(right));
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

std::optional<int> compare_integer_and_real(const Value& left, double right) {
  if (std::isnan(right)) return std::nullopt;
  if (std::isinf(right)) return right > 0 ? -1 : 1;
  const double whole = std::floor(right);
  const int order = compare_integers(left, to_value(Big(whole)));
  if (order == 0 && right > whole) return -1;
  return order;
}

double to_real(const Value& integer) {
  if (const auto small = integer.integer()) return static_cast<double>(*small);
  // Rounded to nearest even by way of decimal digits, as Boost's own conversion may not be.
  const double real = std::strtod(integer.big()->number.str().c_str(), nullptr);
  if (std::isinf(real)) fail("int too large to convert to float");
  return real;
}

Value from_real(double real) {
  if (std::isnan(real)) fail("cannot convert float NaN to integer");
  if (std::isinf(real)) fail("cannot convert float infinity to integer");
  return to_value(Big(std::trunc(real)));
}

std::string to_decimal(Rendering& rendering, const Value& integer) {
  if (const auto small = integer.integer()) return std::to_string(*small);
  const Big& number = integer.big()->number;
  rendering.step(1 + std::uint64_t{bits(number)} * bits(number) / 65'536);
  std::string digits = number.str();
  if (digits.size() - (digits[0] == '-') > kMostDigits) {
    fail("Exceeds the limit (4300 digits) for integer string conversion");
  }
  return digits;
}

std::optional<Value> parse_integer(Rendering& rendering, std::string_view text, int base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  text = strip(text, nullptr, true, true);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  const auto has_prefix = [&](char letter) {
    return text.size() > 1 && text[0] == '0' && (text[1] | 0x20) == letter;
  };
  bool prefixed = true;
  if ((base == 0 || base == 16) && has_prefix('x')) {
    base = 16;
  } else if ((base == 0 || base == 8) && has_prefix('o')) {
    base = 8;
  } else if ((base == 0 || base == 2) && has_prefix('b')) {
    base = 2;
  } else {
    prefixed = false;
  }
  if (prefixed) text.remove_prefix(text.size() > 2 && text[2] == '_' ? 3 : 2);
  const bool zeros_only = base == 0 && !text.empty() && text[0] == '0';
  if (base == 0) base = 10;
  if (text.empty() || text.back() == '_' || text.front() == '_') return std::nullopt;
  rendering.step(1 + std::uint64_t{text.size()} * text.size() / 4'096);
  Big number = 0;
  std::size_t digits = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '_') {
      if (text[at - 1] == '_') return std::nullopt;
      continue;
    }
    const int letter = c | 0x20;
    const int digit = c >= '0' && c <= '9'             ? c - '0'
                      : letter >= 'a' && letter <= 'z' ? letter - 'a' + 10
                                                       : 99;
    if (digit >= base) return std::nullopt;
    number = number * base + digit;
    ++digits;
  }
  if (zeros_only && number != 0) return std::nullopt;
  const bool power_of_two = (base & (base - 1)) == 0;
  if (digits > kMostDigits && !power_of_two) return std::nullopt;
  return to_value(negative ? Big(-number) : number);
}

}  // namespace spd::jinja
