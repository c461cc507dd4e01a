// Integers beyond 64 bits, and the arithmetic that all integers share.
#pragma once

#include <boost/multiprecision/cpp_int.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "model/tokenizer/jinja/value.h"

namespace spd::jinja {

using Big = boost::multiprecision::cpp_int;

struct BigInteger {
  Big number;
};

/// An integer's or boolean's value.
Big to_big(const Value& value);
/// As small as it gets.
Value to_value(Big number);

/// Python's operators on integers (booleans too); floats are no business of theirs.
Value add_integers(const Value& left, const Value& right);
Value subtract_integers(const Value& left, const Value& right);
Value multiply_integers(Rendering& rendering, const Value& left, const Value& right);
/// Rounds down. Fails for a zero.
Value floor_divide_integers(Rendering& rendering, const Value& left, const Value& right);
/// Has the sign of the divisor. Fails for a zero.
Value modulo_integers(Rendering& rendering, const Value& left, const Value& right);
/// `exponent` is not negative.
Value power_of_integers(Rendering& rendering, const Value& base, const Value& exponent);
Value negate_integer(const Value& value);

/// -1, 0 or 1.
int compare_integers(const Value& left, const Value& right);
/// -1, 0 or 1; nullopt where `right` is not a number. Exact.
std::optional<int> compare_integer_and_real(const Value& left, double right);
/// Fails where it is too large.
double to_real(const Value& integer);
/// Drops the fraction. Fails for what is not finite.
Value from_real(double real);
std::string to_decimal(Rendering& rendering, const Value& integer);
/// int(text, base), base 0 or 2 to 36; nullopt where Python raises a ValueError.
std::optional<Value> parse_integer(Rendering& rendering, std::string_view text, int base);

}  // namespace spd::jinja
