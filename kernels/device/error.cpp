#include "kernels/device/error.h"

#include <utility>

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
std::string join(const std::string& message, const std::string& remedy) {
  return remedy.empty() ? message : message + "\n  remedy: " + remedy;
}
}  // namespace

Error::Error(ErrorCode code, std::string message, std::string remedy)
    : std::runtime_error(join(message, remedy)),
      code_(code),
      message_(std::move(message)),
      remedy_(std::move(remedy)) {}

int Error::exit_status() const {
  constexpr int kTryAgain = 75;
  return code_ == ErrorCode::interrupted ? kTryAgain : 2 + static_cast<int>(code_);
}

}  // namespace spd
