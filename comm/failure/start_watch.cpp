#include "comm/failure/start_watch.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "kernels/device/error.h"

namespace spd {

namespace {

constexpr std::chrono::milliseconds kTurn{100};
constexpr int kTurns = 20;

[[noreturn]] void give_up(const std::string& message, const std::string& remedy) {
  const Error error(ErrorCode::timeout, message, remedy);
  std::fflush(stdout);
  std::fputs(("spd: " + std::string(error.what()) + "\n").c_str(), stderr);
  std::_Exit(error.exit_status());
}

}  // namespace

StartWatch::StartWatch(Milliseconds limit, int rank, std::string message, std::string remedy)
    : thread_([this, limit = limit + std::min(rank, kTurns) * kTurn, message = std::move(message),
               remedy = std::move(remedy)] {
        std::unique_lock lock(mutex_);
        if (!over_.wait_for(lock, limit, [this] { return done_; })) give_up(message, remedy);
      }) {}

StartWatch::~StartWatch() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  over_.notify_one();
  thread_.join();
}

}  // namespace spd
