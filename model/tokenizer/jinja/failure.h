// The failure of a template that is read or rendered, before it is given its place.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace spd::jinja {

/// Where in the template: both count from 1, the column in code points.
struct Place {
  std::uint32_t line = 0;  ///< 0: not known
  std::uint32_t column = 0;
};

/// Thrown inside the interpreter alone. Whoever knows the place first fills it in; Template turns
/// it into the project's Error.
struct Failure {
  std::string message;
  Place place;
  bool is_limit = false;  ///< more than a template may use, not a fault in it
};

[[noreturn]] inline void fail(std::string message, Place place = {}) {
  throw Failure{std::move(message), place, false};
}

}  // namespace spd::jinja
