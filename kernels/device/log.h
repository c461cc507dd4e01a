// The logger: the project's only global state. Diagnostics go to stderr; results go to stdout.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace spd {

/// Sets the pattern and level once per process; `rank` goes into every line.
/// Level: the argument if not empty ("debug", "info", "warn", "error"), else warn.
void init_logging(int rank, const std::string& level);

/// Warns of `text` (made printable), the first time that it comes.
void warn_once(const std::string& text);

}  // namespace spd
