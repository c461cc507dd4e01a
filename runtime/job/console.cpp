#include "runtime/job/console.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "kernels/device/error.h"
#include "runtime/job/interrupt.h"

namespace spd {
namespace {

constexpr std::size_t kMostWaiting = std::size_t{1} << 16;  // bytes
constexpr int kGlanceMs = 100;

struct Console {
  std::string waiting;
  int error = 0;  // of stdout
  int descriptor = STDOUT_FILENO;
};

Console& console() {
  static Console the_console;
  return the_console;
}

// A line cut off in the middle would be taken for data: what came of it leaves the file again.
void take_back(off_t begin) {
  struct stat status {};
  if (begin < 0 || ::fstat(STDOUT_FILENO, &status) != 0 || !S_ISREG(status.st_mode)) return;
  const off_t end = ::lseek(STDOUT_FILENO, 0, SEEK_CUR);
  if (end <= begin || end != status.st_size) return;  // another writes there, too
  if (::ftruncate(STDOUT_FILENO, begin) == 0) ::lseek(STDOUT_FILENO, begin, SEEK_SET);
}

}  // namespace

void say_text(std::string_view text) {
  Console& out = console();
  if (out.error != 0 && out.descriptor == STDOUT_FILENO) return;
  out.waiting += text;
  if (text.ends_with('\n') || out.waiting.size() > kMostWaiting) flush_stdout();
}

void say_on_stderr() {
  flush_stdout();
  console().descriptor = STDERR_FILENO;
}

bool flush_stdout() {
  Console& out = console();
  if (out.descriptor != STDOUT_FILENO) {
    // Nobody can be told where that fails.
    write_through(out.descriptor, out.waiting);
  } else if (out.error == 0 && !out.waiting.empty()) {
    const off_t begin = ::lseek(STDOUT_FILENO, 0, SEEK_CUR);
    out.error = write_through(STDOUT_FILENO, out.waiting);
    if (out.error != 0) take_back(begin);
  }
  out.waiting.clear();
  return out.error == 0;
}

int stdout_error() { return console().error; }

void check_stdout() {
  if (flush_stdout()) return;
  throw Error(ErrorCode::system,
              fmt::format("stdout cannot be written: {}", std::strerror(stdout_error())),
              "send it to where there is space and a reader");
}

void open_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest number that is free is this one. Opened for reading, stdout refuses what is said.
    const int mode = descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY;
    if (::open("/dev/null", mode) < 0) return;
    if (descriptor == STDOUT_FILENO) console().error = EBADF;
  }
}

int write_through(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written > 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    if (written == 0) return ENOSPC;
    if (errno != EINTR && errno != EAGAIN) return errno;
    pollfd waiting{descriptor, POLLOUT, 0};
    if (::poll(&waiting, 1, kGlanceMs) == 0 && interrupted()) return EINTR;
  }
  return 0;
}

}  // namespace spd
