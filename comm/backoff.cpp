#include "comm/backoff.h"

#include <sched.h>

#include <algorithm>
#include <ctime>

namespace spd {

namespace {

constexpr std::chrono::microseconds kSpin{200};
constexpr std::chrono::microseconds kYield{2000};
constexpr std::uint32_t kCallsPerLook = 16;  // reading the clock costs as much as a few polls
constexpr long kFirstSleepNs = 2'000;
constexpr long kLongestSleepNs = 50'000;

}  // namespace

int usable_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

void Backoff::pause() {
  if (sleep_ns_ > 0) {
    const timespec time{0, sleep_ns_};
    nanosleep(&time, nullptr);
    sleep_ns_ = std::min(2 * sleep_ns_, kLongestSleepNs);
    return;
  }
  if (calls_++ == 0) begin_ = Clock::now();
  if (spin_ && calls_ % kCallsPerLook != 0) {
    cpu_relax();
    return;
  }
  const auto waited = Clock::now() - begin_;
  if (waited > kYield) {
    sleep_ns_ = kFirstSleepNs;
  } else if (!spin_ || waited > kSpin) {
    sched_yield();
  } else {
    cpu_relax();
  }
}

}  // namespace spd
