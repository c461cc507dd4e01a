// Filters that make numbers.
#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/filters.h"
#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/real.h"

namespace spd::jinja {
namespace {

Value absolute(Rendering&, const Value& subject, const Arguments& arguments) {
  const Bound none("abs", arguments, {});
  if (!subject.is_number()) fail("bad operand type for abs(): '" + type_name(subject) + "'");
  if (subject.real() != nullptr) return std::fabs(*subject.real());
  const bool negative = compare_integers(subject, std::int64_t{0}) < 0;
  return negative ? negate_integer(subject) : to_value(to_big(subject));
}

/// Python reads the digits of all scripts; here those of ASCII are read and others are refused.
void check_digits(const Text& text) {
  for (std::size_t at = 0; at < text.bytes.size();) {
    const CodePoint c = code_point_at(text.bytes, at);
    if (c.value >= 0x80 && is_decimal(c.value)) {
      fail("reading digits other than 0 to 9 is not supported");
    }
    at += c.bytes;
  }
}

/// int(float(text)), as Jinja falls back on.
Value integer_of_text(Rendering& rendering, const Text& text, int base, const Value& otherwise) {
  if (const auto integer = parse_integer(rendering, text.bytes, base)) return *integer;
  check_digits(text);
  const auto real = parse_real(text.bytes);
  return real && std::isfinite(*real) ? from_real(*real) : otherwise;
}

Value integer(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("int", arguments, {"default", "base"});
  const Value otherwise = bound.get(0, std::int64_t{0});
  if (subject.undefined() != nullptr) fail(subject.undefined()->message);
  const std::int64_t base = bound.integer(1, 10);
  if (const Text* text = subject.text()) {
    return integer_of_text(rendering, *text, base >= 0 && base <= 36 ? static_cast<int>(base) : 1,
                           otherwise);
  }
  if (subject.is_integer()) return to_value(to_big(subject));
  if (subject.real() == nullptr || std::isnan(*subject.real())) return otherwise;
  return from_real(*subject.real());
}

Value real(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("float", arguments, {"default"});
  if (subject.undefined() != nullptr) fail(subject.undefined()->message);
  if (subject.real() != nullptr) return subject;
  if (subject.is_integer()) return to_real(subject);
  if (const Text* text = subject.text()) {
    rendering.touch(text->bytes.size());
    check_digits(*text);
    if (const auto number = parse_real(text->bytes)) return *number;
  }
  return bound.get(0, 0.0);
}

/// round() of an integer to tens, hundreds and so on: halves to even.
Value round_integer(Rendering& rendering, const Value& subject, std::int64_t digits) {
  if (digits >= 0) return to_value(to_big(subject));
  if (digits < -1'000) return std::int64_t{0};
  const Value unit = power_of_integers(rendering, std::int64_t{10}, -digits);
  const Big size = to_big(unit);
  const Big below = to_big(floor_divide_integers(rendering, subject, unit));
  const Big rest = to_big(subject) - below * size;
  const bool up = rest * 2 > size || (rest * 2 == size && below % 2 != 0);
  return to_value((up ? Big(below + 1) : below) * size);
}

Value to_direction(Rendering& rendering, const Value& subject, std::int64_t digits, bool up) {
  const Value factor = arithmetic(rendering, "**", std::int64_t{10}, digits);
  const Value scaled = arithmetic(rendering, "*", subject, factor);
  Value whole = scaled;
  if (scaled.real() != nullptr) {
    whole = from_real(up ? std::ceil(*scaled.real()) : std::floor(*scaled.real()));
  }
  return arithmetic(rendering, "/", whole, factor);
}

Value round(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("round", arguments, {"precision", "method"});
  const std::string method = bound.has(1) ? bound.text(1).bytes : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    fail("method must be common, ceil or floor");
  }
  if (subject.undefined() != nullptr) fail(subject.undefined()->message);
  if (!subject.is_number()) fail("round of a '" + type_name(subject) + "'");
  const std::int64_t digits = bound.integer(0, 0);
  if (method != "common") {
    if (digits > 300 || digits < -300) fail("round to so many digits is not supported");
    return to_direction(rendering, subject, digits, method == "ceil");
  }
  // round(number, None) would make an integer; Jinja hands over what it is given.
  if (bound.has(0) && bound[0].is_none()) fail("round to none digits is not supported");
  if (subject.real() == nullptr) return round_integer(rendering, subject, digits);
  return round_real(*subject.real(), static_cast<int>(std::clamp<std::int64_t>(digits, -400, 400)));
}

constexpr auto kFilters = std::to_array<NamedFilter>({
    {"abs", absolute},
    {"int", integer},
    {"float", real},
    {"round", round},
});

}  // namespace

std::span<const NamedFilter> number_filters() { return kFilters; }

}  // namespace spd::jinja
