#include "runtime/job/user_input.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "kernels/device/cpu_device.h"
#include "kernels/device/error.h"
#include "runtime/job/interrupt.h"

namespace spd {

std::string read_stdin(std::uint64_t most_bytes) {
  std::string text;
  std::array<char, 1 << 16> piece{};
  while (true) {
    const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (got == 0) return text;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw Error(ErrorCode::input, fmt::format("stdin: cannot be read: {}", std::strerror(errno)),
                  "give a file");
    }
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.size() > most_bytes) {
      throw Error(ErrorCode::input,
                  fmt::format("stdin: more than {} MiB, the most that is read of such an input",
                              most_bytes >> 20),
                  "give less, in several runs");
    }
  }
}

void wait_for_root(const RankComms& comms, const std::function<bool()>& done) {
  CpuDevice device;
  const auto stream = device.make_stream();
  for (std::uint8_t over = 0; over == 0;) {
    if (comms.rank == 0) over = done() ? 1 : 0;
    comms.world->broadcast(&over, sizeof over, 0, *stream, {"waiting for input"});
    if (over != 0) return;
    if (const auto why = find_interruption(comms, *stream)) {
      stop(*why, "rank 0 was waiting for input or reading it", "the same command begins anew");
    }
  }
}

}  // namespace spd
