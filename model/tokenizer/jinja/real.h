// Floating-point numbers, written, read and rounded as Python does.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace spd::jinja {

/// The shortest text that reads back as the same number: "0.1", "1e+16", "inf", "nan".
std::string real_repr(double real);
/// float(text); nullopt where Python raises a ValueError.
std::optional<double> parse_real(std::string_view text);
/// round(real, digits): to the nearest, halves (as they really are) to even.
double round_real(double real, int digits);
/// Python's %: has the sign of the divisor, which is not zero.
double modulo_real(double dividend, double divisor);
/// Python's //.
double floor_divide_real(double dividend, double divisor);

}  // namespace spd::jinja
