// The hub of a group's threads: a barrier with a deadline, and the work done while all are in it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "comm/failure/collective.h"

namespace spd {

/// Shared by the communicators of one group. Every member function may be called from any thread;
/// each rank calls `run` from one thread at a time.
class ThreadHub {
 public:
  using Clock = std::chrono::steady_clock;

  ThreadHub(GroupMembers members, Communicator::Milliseconds deadline);

  /// What a rank brings to a collective.
  struct Part {
    Collective collective;
    const void* send = nullptr;
    void* recv = nullptr;
    int contribution = 0;  ///< of an all-reduce: parts with the same number are summed first
  };
  /// Does share `share` of `shares` of a collective on all ranks' buffers; parts are in rank order.
  using Work = void (*)(const std::vector<Part>& parts, int share, int shares);

  /// Meets the other ranks; when all are there the work is done, by the last to arrive or, for
  /// `parallel` work, by all of them in shares. Returns when every buffer of this rank may be used
  /// again. Throws CommError (timeout: who is missing; comm: who failed, or who disagrees).
  void run(int rank, const Part& part, Work work, bool parallel);

  /// Tells every waiting and every later caller that a rank of the job has failed.
  void fail(int job_rank, const std::string& message);

  const GroupMembers& members() const { return members_; }

 private:
  struct Failure {
    ErrorCode code = ErrorCode::comm;
    std::string message;
    std::string remedy;
    std::vector<int> missing;  // ranks of the job
    int reporter = -1;         // the rank that speaks for the others; -1: someone outside
  };

  void wait_for_all(std::unique_lock<std::mutex>& lock, int rank, Clock::time_point deadline,
                    const Collective& collective);
  void check_agreement(int rank);
  void set_failure(Failure failure);
  [[noreturn]] void throw_failure(std::unique_lock<std::mutex>& lock, int rank);
  bool spin(std::uint64_t generation) const;

  const GroupMembers members_;
  const Communicator::Milliseconds deadline_;
  const bool
      spin_;  // a core for every rank, so that a short spin does not keep a peer from running

  std::mutex mutex_;
  std::condition_variable changed_;
  // Counts completed meetings; written under the mutex, read by spinning threads.
  std::atomic<std::uint64_t> generation_{0};
  int arrived_ = 0;
  std::vector<char> here_;   // [size] which ranks wait in this meeting
  std::vector<Part> parts_;  // [size] of the current collective
  int busy_ = 0;             // ranks at work on the buffers of others
  std::optional<Failure> failure_;
};

}  // namespace spd
