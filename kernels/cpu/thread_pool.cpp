#include "kernels/cpu/thread_pool.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <cstring>
#include <system_error>

#include "kernels/device/error.h"

namespace spd {

namespace {

constexpr std::chrono::microseconds kSpin{50};

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits until `value` is no longer `old`: spins first, sleeps then.
void await_change(std::atomic<std::uint32_t>& value, std::uint32_t old) {
  constexpr int kLooksPerClock = 32;
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < kLooksPerClock; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      relax();
    }
  } while (std::chrono::steady_clock::now() - start < kSpin);
  while (value.load(std::memory_order_acquire) == old) {
    value.wait(old, std::memory_order_acquire);
  }
}

void pin(pthread_t thread, int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (core >= 0 && core < CPU_SETSIZE) CPU_SET(core, &set);
  const int error = pthread_setaffinity_np(thread, sizeof(set), &set);
  if (error != 0) {
    throw Error(ErrorCode::system,
                fmt::format("cannot pin a thread to core {}: {}", core, std::strerror(error)),
                "name cores that this process may use, or do not pin");
  }
}

}  // namespace

ThreadPool::ThreadPool(int threads, const std::vector<int>& cores) {
  if (threads < 1) {
    throw Error(ErrorCode::usage, fmt::format("{} threads a rank", threads), "use at least one");
  }
  if (!cores.empty() && static_cast<int>(cores.size()) < threads) {
    throw Error(ErrorCode::usage, fmt::format("{} threads on {} cores", threads, cores.size()),
                "give a core for every thread, or none");
  }
  if (!cores.empty()) pin(pthread_self(), cores[0]);
  workers_.reserve(threads - 1);
  try {
    for (int i = 1; i < threads; ++i) {
      workers_.emplace_back([this, i] { work(i); });
      if (!cores.empty()) pin(workers_.back().native_handle(), cores[i]);
    }
  } catch (const std::system_error& error) {
    stop();
    throw Error(ErrorCode::system,
                fmt::format("cannot start thread {} of {}: {}", workers_.size() + 2, threads,
                            error.code().message()),
                "ask for fewer with --threads, or raise the limit of processes (ulimit -u)");
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() noexcept {
  stopping_ = true;
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::fork(Function function, void* context) {
  function_ = function;
  context_ = context;
  running_.store(static_cast<std::uint32_t>(workers_.size()), std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  function(context, 0);
  for (;;) {
    const std::uint32_t left = running_.load(std::memory_order_acquire);
    if (left == 0) break;
    await_change(running_, left);
  }
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;
  for (;;) {
    await_change(epoch_, seen);
    // Not epoch_'s present value: a fork follows only when all workers are done with the last.
    ++seen;
    if (stopping_) return;
    function_(context_, thread);
    if (running_.fetch_sub(1, std::memory_order_release) == 1) running_.notify_one();
  }
}

void ThreadPool::barrier() {
  if (workers_.empty()) return;
  const std::uint32_t now = barriers_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<std::uint32_t>(size())) {
    arrived_.store(0, std::memory_order_relaxed);
    barriers_.store(now + 1, std::memory_order_release);
    barriers_.notify_all();
  } else {
    await_change(barriers_, now);
  }
}

}  // namespace spd
