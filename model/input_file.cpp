#include "model/input_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "kernels/device/error.h"
#include "model/read_patience.h"

namespace spd {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 16;

std::atomic<std::chrono::milliseconds> most_patience{std::chrono::milliseconds::max()};

// A file descriptor that is closed at the end of its scope.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& file)
      // Without O_NONBLOCK opening a FIFO waits for a writer, for as long as it takes.
      : descriptor_(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// Whether the descriptor has something to say, be it the end, within `patience`.
bool is_ready(int descriptor, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd waiting{descriptor, POLLIN, 0};
    const int ready =
        ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready >= 0) return ready > 0;
    if (errno != EINTR) return true;  // read() says what is wrong
  }
}

}  // namespace

void limit_read_patience(std::chrono::milliseconds most) { most_patience = most; }

std::string read_file(const std::filesystem::path& file, const ReadLimits& limits,
                      const std::string& remedy) {
  const auto fail = [&](const std::string& why, const std::string& advice) {
    throw Error(ErrorCode::input, fmt::format("{}: {}", file.string(), why), advice);
  };
  const auto refuse = [&](int reason) {
    fail(fmt::format("cannot be read: {}", std::strerror(reason)),
         remedy.empty() ? "check the path and its permissions" : remedy);
  };
  const auto too_large = [&] {
    fail(fmt::format("is larger than {} MiB, the most that is read of such a file",
                     limits.most_bytes >> 20),
         "check that it is the right file");
  };
  const OpenFile open_file(file);
  struct stat status {};
  if (open_file.get() < 0 || ::fstat(open_file.get(), &status) != 0) refuse(errno);
  if (S_ISDIR(status.st_mode)) refuse(EISDIR);
  const bool regular = S_ISREG(status.st_mode);
  if (regular && static_cast<std::uint64_t>(status.st_size) > limits.most_bytes) too_large();

  const std::chrono::milliseconds patience = std::min(limits.patience, most_patience.load());
  std::string content;
  if (regular) content.reserve(static_cast<std::size_t>(status.st_size));
  std::string piece(kPiece, '\0');
  while (true) {
    if (!regular && !is_ready(open_file.get(), patience)) {
      fail(fmt::format("nothing came from it for {:.1f} s, and it is not a regular file",
                       std::chrono::duration<double>(patience).count()),
           "write to it at once, or put its content into a file");
    }
    const ssize_t got = ::read(open_file.get(), piece.data(), piece.size());
    if (got == 0) return content;
    if (got < 0 && errno != EINTR && errno != EAGAIN) refuse(errno);
    if (got <= 0) continue;
    content.append(piece, 0, static_cast<std::size_t>(got));
    if (content.size() > limits.most_bytes) too_large();
  }
}

bool is_lfs_pointer(std::string_view content) {
  return content.starts_with("version https://git-lfs.github.com/spec/");
}

}  // namespace spd
