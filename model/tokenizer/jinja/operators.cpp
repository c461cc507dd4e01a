#include "model/tokenizer/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/formatting.h"
#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/printing.h"
#include "model/tokenizer/jinja/real.h"

namespace spd::jinja {
namespace {

[[noreturn]] void unsupported(std::string_view sign, const Value& left, const Value& right) {
  for (const Value* side : {&left, &right}) {
    if (side->undefined() != nullptr) fail(side->undefined()->message);
  }
  const std::string name = sign == "**" ? "** or pow()" : std::string(sign);
  fail("unsupported operand type(s) for " + name + ": '" + type_name(left) + "' and '" +
       type_name(right) + "'");
}

double real_of(const Value& value) { return value.real() ? *value.real() : to_real(value); }

Value integers(Rendering& rendering, std::string_view sign, const Value& left, const Value& right) {
  if (sign == "+") return add_integers(left, right);
  if (sign == "-") return subtract_integers(left, right);
  if (sign == "*") return multiply_integers(rendering, left, right);
  if (sign == "//") return floor_divide_integers(rendering, left, right);
  if (sign == "%") return modulo_integers(rendering, left, right);
  return power_of_integers(rendering, left, right);
}

/// The quotient of two positive integers, rounded once, to even.
double exact_quotient(Big dividend, Big divisor) {
  constexpr int kKept = 53;
  constexpr int kEnough = 66;
  const int shift = kEnough - (static_cast<int>(msb(dividend)) - static_cast<int>(msb(divisor)));
  if (shift > 0) dividend <<= static_cast<unsigned>(shift);
  if (shift < 0) divisor <<= static_cast<unsigned>(-shift);
  Big quotient = dividend / divisor;
  const bool inexact = dividend % divisor != 0;
  const int dropped = static_cast<int>(msb(quotient)) + 1 - kKept;
  const Big unit = Big(1) << static_cast<unsigned>(dropped);
  const Big rest = quotient % unit;
  quotient >>= static_cast<unsigned>(dropped);
  const Big half = unit / 2;
  if (rest > half || (rest == half && (inexact || quotient % 2 != 0))) ++quotient;
  if (dropped - shift < -1'000) fail("division that leaves so little is not supported");
  const double result = std::ldexp(static_cast<double>(quotient), dropped - shift);
  if (std::isinf(result)) fail("integer division result too large for a float");
  return result;
}

Value divide_integers(Rendering& rendering, const Value& left, const Value& right) {
  constexpr double kExact = 0x1p53;
  const auto a = left.integer();
  const auto b = right.integer();
  if (b && *b == 0) fail("division by zero");
  if (a && b && std::fabs(static_cast<double>(*a)) <= kExact &&
      std::fabs(static_cast<double>(*b)) <= kExact) {
    return static_cast<double>(*a) / static_cast<double>(*b);
  }
  const Big dividend = to_big(left);
  const Big divisor = to_big(right);
  if (dividend == 0) return divisor < 0 ? -0.0 : 0.0;
  rendering.step(1 + (msb(abs(dividend)) + msb(abs(divisor))) / 64);
  const double magnitude = exact_quotient(abs(dividend), abs(divisor));
  return (dividend < 0) != (divisor < 0) ? -magnitude : magnitude;
}

Value real_power(double base, double exponent) {
  if (base == 0 && exponent < 0) fail("0.0 cannot be raised to a negative power");
  if (base < 0 && std::floor(exponent) != exponent && std::isfinite(base) &&
      std::isfinite(exponent)) {
    fail("complex numbers are not supported");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent)) {
    fail("(34, 'Numerical result out of range')");
  }
  return result;
}

Value reals(std::string_view sign, double left, double right) {
  if (sign == "+") return left + right;
  if (sign == "-") return left - right;
  if (sign == "*") return left * right;
  if (sign == "**") return real_power(left, right);
  if (right == 0) {
    fail(sign == "/"   ? "float division by zero"
         : sign == "%" ? "float modulo"
                       : "float floor division by zero");
  }
  if (sign == "/") return left / right;
  return sign == "%" ? modulo_real(left, right) : floor_divide_real(left, right);
}

Value numbers(Rendering& rendering, std::string_view sign, const Value& left, const Value& right) {
  if (left.real() == nullptr && right.real() == nullptr) {
    if (sign == "/") return divide_integers(rendering, left, right);
    const bool negative_power = sign == "**" && compare_integers(right, std::int64_t{0}) < 0;
    if (!negative_power) return integers(rendering, sign, left, right);
  }
  return reals(sign, real_of(left), real_of(right));
}

Value repeat(Rendering& rendering, const Value& value, const Value& times) {
  if (times.big() != nullptr) fail("cannot fit 'int' into an index-sized integer");
  const auto count = static_cast<std::uint64_t>(std::max<std::int64_t>(0, *times.integer()));
  if (const Text* text = value.text()) {
    const std::uint64_t size = text->bytes.size();
    if (size != 0 && count > rendering.most_output() / size)
      rendering.too_much("memory for a text");
    std::string repeated;
    repeated.reserve(size * count);
    for (std::uint64_t at = 0; at < count && size != 0; ++at) repeated += text->bytes;
    return rendering.text(std::move(repeated), text->markup);
  }
  const auto& items = value.sequence()->items;
  if (!items.empty()) {
    rendering.step(std::min(count, UINT64_MAX / items.size() / 2) * items.size());
  }
  std::vector<Value> repeated;
  for (std::uint64_t at = 0; at < count && !items.empty(); ++at) {
    repeated.insert(repeated.end(), items.begin(), items.end());
  }
  return rendering.sequence(std::move(repeated),
                            value.list() != nullptr ? Sequence::Kind::list : Sequence::Kind::tuple);
}

std::optional<Value> join_texts(Rendering& rendering, const Value& left, const Value& right) {
  const Text* a = left.text();
  const Text* b = right.text();
  if (a == nullptr || b == nullptr) return std::nullopt;
  if (!a->markup && !b->markup) return rendering.text(a->bytes + b->bytes);
  return rendering.text(escaped_for_markup(rendering, left) + escaped_for_markup(rendering, right),
                        true);
}

std::optional<Value> join_sequences(Rendering& rendering, const Value& left, const Value& right) {
  const bool lists = left.list() != nullptr && right.list() != nullptr;
  const bool tuples = left.tuple() != nullptr && right.tuple() != nullptr;
  if (!lists && !tuples) return std::nullopt;
  std::vector<Value> items = left.sequence()->items;
  items.insert(items.end(), right.sequence()->items.begin(), right.sequence()->items.end());
  return rendering.sequence(std::move(items), lists ? Sequence::Kind::list : Sequence::Kind::tuple);
}

bool is_repeatable(const Value& value) { return value.text() || value.sequence(); }

Next over_text(Rendering& rendering, const Value& value) {
  return [&rendering, value, at = std::size_t{0}](Value& item) mutable {
    const std::string& bytes = value.text()->bytes;
    if (at >= bytes.size()) return false;
    const std::size_t size = code_point_at(bytes, at).bytes;
    item = rendering.text(bytes.substr(at, size));
    at += size;
    return true;
  };
}

}  // namespace

Value arithmetic(Rendering& rendering, std::string_view sign, const Value& left,
                 const Value& right) {
  if (left.is_number() && right.is_number()) return numbers(rendering, sign, left, right);
  if (sign == "%" && left.text() != nullptr) return percent_format(rendering, left, right);
  std::optional<Value> result;
  if (sign == "+") result = join_texts(rendering, left, right);
  if (sign == "+" && !result) result = join_sequences(rendering, left, right);
  if (sign == "*" && is_repeatable(left) && right.is_integer())
    result = repeat(rendering, left, right);
  if (sign == "*" && is_repeatable(right) && left.is_integer())
    result = repeat(rendering, right, left);
  if (!result) unsupported(sign, left, right);
  return *result;
}

Value signed_value(std::string_view sign, const Value& value) {
  if (value.undefined() != nullptr) fail(value.undefined()->message);
  if (!value.is_number()) {
    fail("bad operand type for unary " + std::string(sign) + ": '" + type_name(value) + "'");
  }
  if (value.real() != nullptr) return sign == "-" ? -*value.real() : *value.real();
  return sign == "-" ? negate_integer(value) : to_value(to_big(value));
}

Next try_iterate(Rendering& rendering, const Value& value) {
  if (value.text() != nullptr) return over_text(rendering, value);
  if (value.sequence() != nullptr) {
    return [&rendering, value, at = std::size_t{0}](Value& item) mutable {
      const auto& items = value.sequence()->items;
      if (at >= items.size()) return false;
      rendering.step();
      item = items[at++];
      return true;
    };
  }
  if (value.dict() != nullptr) {
    return [&rendering, value, at = std::size_t{0}](Value& item) mutable {
      const auto& items = value.dict()->items;
      if (at >= items.size()) return false;
      rendering.step();
      item = items[at++].first;
      return true;
    };
  }
  if (value.undefined() != nullptr) return [](Value&) { return false; };
  return value.object() == nullptr ? Next() : value.object()->iterate(rendering);
}

Next iterate(Rendering& rendering, const Value& value) {
  Next next = try_iterate(rendering, value);
  if (!next) fail("'" + type_name(value) + "' object is not iterable");
  return next;
}

std::vector<Value> items_of(Rendering& rendering, const Value& value) {
  std::vector<Value> items;
  const Next next = iterate(rendering, value);
  for (Value item; next(item);) {
    rendering.step();
    items.push_back(item);
  }
  return items;
}

std::optional<std::size_t> length_of(Rendering& rendering, const Value& value) {
  if (value.undefined() != nullptr) return 0;
  if (const Text* text = value.text()) return text->length;
  if (const Sequence* sequence = value.sequence()) return sequence->items.size();
  if (const Dict* dict = value.dict()) return dict->items.size();
  return value.object() == nullptr ? std::nullopt : value.object()->length(rendering);
}

std::string escape_html(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      case '"':
        escaped += "&#34;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string escaped_for_markup(Rendering& rendering, const Value& value) {
  if (value.text() != nullptr && value.text()->markup) return value.text()->bytes;
  return escape_html(to_str(rendering, value));
}

}  // namespace spd::jinja
