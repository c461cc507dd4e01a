// The logger: the project's only global state. Diagnostics go to stderr; results go to stdout.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace spd {

/// Sets the pattern: warnings and errors, with the rank in every line. May be called again, when
/// the rank is known.
void init_logging(int rank);

/// Warns of `text` (made printable), the first time that it comes.
void warn_once(const std::string& text);

}  // namespace spd
