// Standard output: all that commands print goes through here, so that nothing is lost in silence.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace spd {

/// Prints to stdout. Whole lines go out at once, in one piece where the system takes them; the
/// beginning of a line waits for its end or for flush_stdout(). Never throws: what cannot be
/// written is remembered (see stdout_error()) and what follows is dropped, so that other outputs
/// are written all the same. For one thread at a time.
void say_text(std::string_view text);
template <class... Values>
void say(fmt::format_string<Values...> format, Values&&... values) {
  say_text(fmt::format(format, std::forward<Values>(values)...));
}

/// From now on all of that goes to stderr: stdout is an output's.
void say_on_stderr();

/// Hands over what waits. False: stdout cannot be written, or could not before.
bool flush_stdout();
/// The system's reason why stdout could not be written, as an errno; 0: it always could.
int stdout_error();
/// Throws system Error with that reason, if there is one.
void check_stdout();

/// To be called first in main(): a descriptor of 0 to 2 that is not open would be given to the next
/// file opened, and receive what is printed. A closed stdout becomes one that cannot be written.
void open_standard_descriptors();

/// Writes all of it, waiting where the other end is slow; a signal that asks for the end (see
/// interrupted()) ends the waiting. Returns 0 or an errno.
int write_through(int descriptor, std::string_view text);

}  // namespace spd
