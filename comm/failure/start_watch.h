// A deadline for calls of MPI that have none of their own: its start, and the making of groups.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace spd {

/// Ends this process with a message and the exit status of a passed deadline if this object still
/// is there after `limit`. There is nobody to throw to: the call that waits cannot be interrupted,
/// and the launcher ends the other ranks.
class StartWatch {
 public:
  using Milliseconds = std::chrono::milliseconds;

  /// `message` and `remedy` as an Error's. Ranks speak by turn, a tenth of a second apart (from the
  /// twentieth on together): the launcher ends the others once the first has spoken.
  StartWatch(Milliseconds limit, int rank, std::string message, std::string remedy);
  ~StartWatch();
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;

  /// What MPI's start is given at least, however short the deadline: processes are started one
  /// after the other, on machines that may be loaded.
  static constexpr Milliseconds kLeastForStart{5000};

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace spd
