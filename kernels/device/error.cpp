#include "kernels/device/error.h"

namespace spd {

std::string_view name(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
      return "usage";
    case ErrorCode::input:
      return "input";
    case ErrorCode::system:
      return "system";
    case ErrorCode::comm:
      return "comm";
    case ErrorCode::timeout:
      return "timeout";
    case ErrorCode::device:
      return "device";
    case ErrorCode::internal:
      return "internal";
    case ErrorCode::interrupted:
      return "interrupted";
  }
  return "unknown";
}

namespace {

constexpr std::string_view kRemedy = "\n  remedy: ";

// what() ends at a zero byte, which names of files in files may have.
std::string visible(const std::string& text) {
  std::string shown;
  for (const char c : text) c == '\0' ? shown += "\\0" : shown += c;
  return shown;
}

std::string join(const std::string& message, const std::string& remedy) {
  return visible(remedy.empty() ? message : message + std::string(kRemedy) + remedy);
}

}  // namespace

Error::Error(ErrorCode code, const std::string& message, const std::string& remedy)
    : std::runtime_error(join(message, remedy)),
      code_(code),
      message_bytes_(visible(message).size()) {}

std::string Error::message() const { return std::string(what()).substr(0, message_bytes_); }

std::string Error::remedy() const {
  const std::string whole = what();
  return whole.size() == message_bytes_ ? "" : whole.substr(message_bytes_ + kRemedy.size());
}

int Error::exit_status() const {
  constexpr int kTryAgain = 75;
  return code_ == ErrorCode::interrupted ? kTryAgain : 2 + static_cast<int>(code_);
}

}  // namespace spd
