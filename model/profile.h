// The profile of a rank: where its steps' time goes.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "model/sync_levels.h"

namespace spd {

enum class Work { embed, qkv, attention, o_proj, mlp, sync_attn, sync_mlp, residual, lm_head };
inline constexpr std::size_t kWorkKinds = 9;
const char* name(Work work);

using WorkSeconds = std::array<double, kWorkKinds>;
/// Computing in blocks: without syncs, the embedding and the LM head.
inline constexpr std::array kInBlocks{Work::qkv, Work::attention, Work::o_proj, Work::mlp,
                                      Work::residual};
inline double sum_of(const WorkSeconds& seconds, std::span<const Work> kinds) {
  double sum = 0.0;
  for (const Work work : kinds) sum += seconds[static_cast<std::size_t>(work)];
  return sum;
}

/// Seconds by kind of work and by sync point, added up since the last reset.
struct Profile {
  WorkSeconds seconds{};
  PerPoint<std::vector<double>> sync_seconds;  ///< [blocks] each
  std::uint64_t steps = 0;

  explicit Profile(std::int64_t blocks = 0)
      : sync_seconds{std::vector<double>(blocks), std::vector<double>(blocks)} {}
  void reset() { *this = Profile(std::ssize(sync_seconds.attn)); }
  double total() const {
    double sum = 0.0;
    for (const double value : seconds) sum += value;
    return sum;
  }
};

/// Charges the time since the last lap to one kind of work.
class LapTimer {
 public:
  explicit LapTimer(Profile& profile) : profile_(profile) {}
  double lap(Work work) {
    const auto now = std::chrono::steady_clock::now();
    const double elapsed = std::chrono::duration<double>(now - last_).count();
    profile_.seconds[static_cast<std::size_t>(work)] += elapsed;
    last_ = now;
    return elapsed;
  }

 private:
  Profile& profile_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace spd
