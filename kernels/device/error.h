// The one exception type of the project: a code for programs, a sentence for people, a remedy.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace spd {

/// What went wrong, coarsely; also decides the exit status of the process.
enum class ErrorCode {
  usage,        ///< a flag or an argument is wrong: the user mends the command
  input,        ///< a file or a text is wrong: the user mends the input
  system,       ///< the operating system refused something (memory, files, sockets)
  comm,         ///< a peer or a communication library failed
  timeout,      ///< a deadline passed
  device,       ///< an accelerator failed
  internal,     ///< a broken invariant of our own
  interrupted,  ///< a signal asked for the end: what was done is kept, the work is not whole
};

std::string_view name(ErrorCode code);

/// Thrown everywhere, caught once, in main(). `what()` is the whole message: context, cause,
/// remedy.
class Error : public std::runtime_error {
 public:
  /// `message` says what is wrong and where; `remedy`, if any, says what the user can do.
  explicit Error(ErrorCode code, const std::string& message, const std::string& remedy = "");

  ErrorCode code() const { return code_; }
  /// The two parts of what(), for whoever knows more of where it happened and throws it again.
  std::string message() const;
  std::string remedy() const;
  /// Exit status of a process that ends by this error: 2 for usage, 3 for input, ... 8 for
  /// internal; 75 (sysexits' EX_TEMPFAIL: try again) for interrupted. Never 0.
  int exit_status() const;

 private:
  ErrorCode code_;
  std::size_t message_bytes_;  // of what(); no string of its own: copying must not throw
};

}  // namespace spd
