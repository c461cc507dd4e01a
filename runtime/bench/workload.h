// A request, and the times of its two phases.
#pragma once

#include <cstdint>

namespace spd {

/// One request: `batch` prompts are read one after the other, then decoded together.
struct Workload {
  std::int64_t prompt = 512;
  std::int64_t generate = 128;  ///< tokens, the first of them comes from the prefill; >= 1
  std::int64_t batch = 1;
  std::int64_t step_tokens = 512;  ///< a prefill step takes at most so many
};

/// A time of the workload's two phases. Prefill is that of the whole batch, decode one step.
struct PhaseTimes {
  double prefill_us = 0.0;
  double decode_us = 0.0;

  PhaseTimes& operator+=(const PhaseTimes& other) {
    prefill_us += other.prefill_us;
    decode_us += other.decode_us;
    return *this;
  }
  friend PhaseTimes operator+(PhaseTimes a, const PhaseTimes& b) { return a += b; }
  friend PhaseTimes operator-(PhaseTimes a, const PhaseTimes& b) { return a += -1.0 * b; }
  friend PhaseTimes operator*(double factor, const PhaseTimes& times) {
    return {factor * times.prefill_us, factor * times.decode_us};
  }
  /// Of the whole request.
  double request_us(const Workload& workload) const {
    return prefill_us + static_cast<double>(workload.generate - 1) * decode_us;
  }
};

}  // namespace spd
