// The backoff of a rank that waits: it spins for as long as a peer on another core may need, then
// lets others run.
#pragma once

#include <chrono>
#include <cstdint>

namespace spd {

/// Tells the core that this is a spin loop.
inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Cores this process may run on.
int usable_cores();

/// One wait of a polling loop: call `pause` each time nothing has happened yet. It spins, then
/// yields, then sleeps for growing times up to 50 us, so that ranks without a core of their own
/// make progress and a rank that waits long costs little.
class Backoff {
 public:
  using Clock = std::chrono::steady_clock;

  /// `spin`: whether each rank has a core of its own; if not, it yields from the start.
  explicit Backoff(bool spin) : spin_(spin) {}
  void pause();
  /// True once the wait has become long: time for checks that would slow a short one.
  bool sleeping() const { return sleep_ns_ > 0; }

 private:
  bool spin_;
  std::uint32_t calls_ = 0;
  long sleep_ns_ = 0;
  Clock::time_point begin_;
};

}  // namespace spd
