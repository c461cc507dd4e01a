// What lies in a stream: kernels, copies, fills, events.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "tests/cuda_emulation/device_language.h"

namespace cuda_emulation {

/// By index of stream: up to which of its operations all is known to have happened before.
using Clock = std::vector<std::uint32_t>;

inline void join(Clock& to, const Clock& from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}
inline std::uint32_t at(const Clock& clock, std::uint32_t stream) {
  return stream < clock.size() ? clock[stream] : 0;
}
inline void advance(Clock& clock, std::uint32_t stream, std::uint32_t time) {
  if (clock.size() <= stream) clock.resize(stream + 1);
  clock[stream] = std::max(clock[stream], time);
}

enum class OperationKind : std::uint8_t { kernel, copy, fill, call, record, wait };

/// Rows of `width` bytes; one row where nothing was said of pitches.
struct Region {
  void* to = nullptr;
  const void* from = nullptr;
  std::size_t to_pitch = 0, from_pitch = 0, width = 0, height = 1;
};

struct Event {
  Clock clock;
  std::uint64_t recorded = 0, done = 0;  ///< how often
  double seconds = 0.0;                  ///< when it last happened
  struct Capture* capture = nullptr;     ///< recorded there last, not in real work
  std::size_t node = 0;                  ///< which operation of the capture
};

struct Operation {
  OperationKind kind{};
  const char* name = "";
  Launch launch;
  Region region;
  int value = 0;                         ///< of a fill
  std::vector<unsigned char> staged;     ///< source of a copy from pageable memory
  std::function<void(Operation&)> call;  ///< of a library's work
  Event* event = nullptr;
  std::uint64_t generation = 0;  ///< which recording of the event is meant

  // Given when it is put into its stream.
  std::uint32_t id = 0, stream = 0, sequence = 0;
  std::uint32_t releases = 0;  ///< flags that its threads have set so far
  bool waited = false;         ///< one of its threads has waited for what precedes the launch
  int device = 0;
  Clock clock;        ///< what happened before it
  Clock early_clock;  ///< what happened before it even if programmatic launches overlap
};

/// Within an operation, releases count as steps of their own.
inline constexpr std::uint32_t kStepsAnOperation = 1u << 12;
inline std::uint32_t time_of(std::uint32_t sequence, std::uint32_t releases) {
  return sequence * kStepsAnOperation + std::min(releases, kStepsAnOperation - 2);
}
inline std::uint32_t end_time(const Operation& op) {
  return op.sequence * kStepsAnOperation + kStepsAnOperation - 1;
}

}  // namespace cuda_emulation
