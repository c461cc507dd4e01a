#include "model/tokenizer/jinja/real.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "model/tokenizer/jinja/characters.h"

namespace spd::jinja {
namespace {

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

std::string lowered(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return result;
}

/// Digits, a point and an exponent, and nothing else; underscores stand between digits alone.
std::optional<std::string> plain_number(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '_') {
      const bool between = at > 0 && at + 1 < text.size() && is_ascii_digit(text[at - 1]) &&
                           is_ascii_digit(text[at + 1]);
      if (!between) return std::nullopt;
      continue;
    }
    if (!is_ascii_digit(c) && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-') {
      return std::nullopt;
    }
    plain += c;
  }
  return plain;
}

}  // namespace

std::string real_repr(double real) {
  if (std::isnan(real)) return "nan";
  if (std::isinf(real)) return real > 0 ? "inf" : "-inf";
  std::array<char, 40> buffer{};
  const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), real,
                                     std::chars_format::scientific);
  const std::string_view shortest(buffer.data(),
                                  static_cast<std::size_t>(written.ptr - buffer.data()));
  const std::size_t mark = shortest.find('e');
  const int exponent = std::atoi(std::string(shortest.substr(mark + 1)).c_str());
  if (exponent < -4 || exponent >= 16) return std::string(shortest);
  std::string digits;
  for (const char c : shortest.substr(0, mark)) {
    if (is_ascii_digit(c)) digits += c;
  }
  const std::string sign = shortest[0] == '-' ? "-" : "";
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::optional<double> parse_real(std::string_view text) {
  text = strip(text, nullptr, true, true);
  std::string_view unsigned_text = text;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) unsigned_text.remove_prefix(1);
  const double sign = text.empty() || text[0] != '-' ? 1.0 : -1.0;
  const std::string name = lowered(unsigned_text);
  if (name == "inf" || name == "infinity") return sign * HUGE_VAL;
  if (name == "nan") return std::nan("");
  const auto plain = plain_number(unsigned_text);
  if (!plain || plain->empty() || !(is_ascii_digit((*plain)[0]) || (*plain)[0] == '.')) {
    return std::nullopt;
  }
  char* end = nullptr;
  const double real = std::strtod(plain->c_str(), &end);
  if (end != plain->c_str() + plain->size()) return std::nullopt;
  return sign * real;
}

double round_real(double real, int digits) {
  if (!std::isfinite(real)) return real;
  if (digits > 323) return real;
  if (digits < -308) return std::copysign(0.0, real);
  std::array<char, 700> buffer{};
  if (digits >= 0) {
    std::snprintf(buffer.data(), buffer.size(), "%.*f", digits, real);
    return std::strtod(buffer.data(), nullptr);
  }
  const double unit = std::pow(10.0, -digits);
  const double scaled = real / unit;
  double rounded = std::round(scaled);
  if (std::fabs(scaled - rounded) == 0.5) rounded = 2.0 * std::round(scaled / 2.0);
  return rounded * unit;
}

double modulo_real(double dividend, double divisor) {
  double rest = std::fmod(dividend, divisor);
  if (rest == 0) return std::copysign(0.0, divisor);
  if ((rest < 0) != (divisor < 0)) rest += divisor;
  return rest;
}

double floor_divide_real(double dividend, double divisor) {
  const double rest = std::fmod(dividend, divisor);
  double quotient = (dividend - rest) / divisor;
  if (rest != 0 && (rest < 0) != (divisor < 0)) quotient -= 1.0;
  if (quotient == 0) return std::copysign(0.0, dividend / divisor);
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1.0 : whole;
}

}  // namespace spd::jinja
