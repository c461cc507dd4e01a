#include "comm/thread_hub.h"

#include <fmt/format.h>

#include <algorithm>

#include "comm/backoff.h"

namespace spd {

namespace {

// Longer than a hand-over between two running threads, shorter than putting one to sleep costs.
constexpr std::chrono::microseconds kSpin{20};

}  // namespace

ThreadHub::ThreadHub(GroupMembers members, Communicator::Milliseconds deadline)
    : members_(std::move(members)),
      deadline_(deadline),
      spin_(members_.size() <= usable_cores()),
      here_(members_.size(), 0),
      parts_(members_.size()) {}

void ThreadHub::run(int rank, const Part& part, Work work, bool parallel) {
  const auto deadline = Clock::now() + deadline_;
  const int ranks = members_.size();
  std::unique_lock lock(mutex_);
  if (failure_) throw_failure(lock, rank);
  parts_[rank] = part;
  here_[rank] = 1;
  check_agreement(rank);
  if (arrived_ + 1 == ranks) {
    // Alone at work while the others wait: small payloads are done here, under the lock, so that
    // nobody can time out and free a buffer that is being read.
    if (parallel) {
      busy_ = ranks;
    } else {
      work(parts_, 0, 1);
    }
  }
  wait_for_all(lock, rank, deadline, part.collective);
  if (!parallel) return;

  lock.unlock();
  work(parts_, rank, ranks);
  lock.lock();
  if (--busy_ == 0) changed_.notify_all();
  here_[rank] = 1;
  wait_for_all(lock, rank, deadline, part.collective);
}

void ThreadHub::wait_for_all(std::unique_lock<std::mutex>& lock, int rank,
                             Clock::time_point deadline, const Collective& collective) {
  if (++arrived_ == members_.size()) {
    arrived_ = 0;
    std::fill(here_.begin(), here_.end(), 0);
    generation_.fetch_add(1, std::memory_order_release);
    changed_.notify_all();
    return;
  }
  const std::uint64_t generation = generation_.load(std::memory_order_relaxed);
  if (spin_) {
    lock.unlock();
    const bool done = spin(generation);
    lock.lock();
    if (done) return;
  }
  const auto over = [&] {
    return generation_.load(std::memory_order_relaxed) != generation || failure_.has_value();
  };
  if (!changed_.wait_until(lock, deadline, over)) {
    std::vector<int> missing;
    std::vector<int> arrived;
    std::vector<int> missing_job_ranks;
    for (int other = 0; other < members_.size(); ++other) {
      (here_[other] ? arrived : missing).push_back(other);
      if (!here_[other]) missing_job_ranks.push_back(members_.job_ranks[other]);
    }
    set_failure({ErrorCode::timeout,
                 missing_message(members_, missing, arrived, collective, deadline_), kMissingRemedy,
                 std::move(missing_job_ranks), rank});
  }
  if (generation_.load(std::memory_order_relaxed) == generation) throw_failure(lock, rank);
}

bool ThreadHub::spin(std::uint64_t generation) const {
  const auto until = Clock::now() + kSpin;
  while (Clock::now() < until) {
    for (int i = 0; i < 32; ++i) {
      if (generation_.load(std::memory_order_acquire) != generation) return true;
      cpu_relax();
    }
  }
  return false;
}

void ThreadHub::check_agreement(int rank) {
  for (int other = 0; other < members_.size(); ++other) {
    if (!here_[other] || parts_[other].collective.matches(parts_[rank].collective)) continue;
    set_failure(
        {ErrorCode::comm,
         mismatch_message(members_, other, parts_[other].collective, rank, parts_[rank].collective),
         kMismatchRemedy,
         {},
         rank});
    throw CommError(failure_->code, failure_->message, failure_->remedy, {}, true);
  }
}

void ThreadHub::set_failure(Failure failure) {
  if (failure_) return;  // the first one is the cause, the rest follow from it
  failure_ = std::move(failure);
  changed_.notify_all();
}

void ThreadHub::fail(int job_rank, const std::string& message) {
  const std::lock_guard lock(mutex_);
  set_failure(
      {ErrorCode::comm, fmt::format("rank {} failed: {}", job_rank, message), "", {job_rank}, -1});
}

void ThreadHub::throw_failure(std::unique_lock<std::mutex>& lock, int rank) {
  // The caller will free its buffers: not before the others have taken their hands off them.
  changed_.wait(lock, [this] { return busy_ == 0; });
  throw CommError(failure_->code, failure_->message, failure_->remedy, failure_->missing,
                  failure_->reporter == rank);
}

}  // namespace spd
