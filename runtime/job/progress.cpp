#include "runtime/job/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace spd {
namespace {

bool on_terminal() {
  const char* forced = std::getenv("SPD_PROGRESS");
  if (forced) return std::strcmp(forced, "0") != 0;
  return isatty(STDERR_FILENO) != 0;
}

}  // namespace

Progress::Progress(std::string what, std::int64_t total, bool shown)
    : what_(std::move(what)), total_(total), shown_(shown && on_terminal()) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void Progress::update(std::int64_t done, const std::string& note) {
  if (!shown_ || total_ <= 0) return;
  const auto now = std::chrono::steady_clock::now();
  const double elapsed = std::chrono::duration<double>(now - begin_).count();
  // Short work shows nothing; long work at most ten times a second.
  if (elapsed < 0.5 || (done < total_ && now - last_ < std::chrono::milliseconds(100))) return;
  last_ = now;
  drawn_ = true;
  constexpr int kWidth = 30;
  const int filled = static_cast<int>(kWidth * done / total_);
  const double left =
      done > 0 ? elapsed / static_cast<double>(done) * static_cast<double>(total_ - done) : 0;
  const std::string line = fmt::format("\r\033[K{} [{:=<{}}{:<{}}] {}/{}  {:.0f} s left  {}", what_,
                                       "", filled, "", kWidth - filled, done, total_, left, note);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace spd
