#include "comm/slot_stores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/device/host_memory.h"

namespace spd {

namespace {

constexpr std::size_t kShortest = 2048;
constexpr std::array<std::size_t, 3> kMeasuredAt{4096, 16'384, 65'536};
// Where a range ends, bytes; the last has no end.
constexpr std::array<std::size_t, 2> kLimits{8192, 32'768};

}  // namespace

void SlotStores::copy(void* to, const void* from, std::size_t bytes) const {
  const auto range = std::upper_bound(kLimits.begin(), kLimits.end(), bytes) - kLimits.begin();
  if (bytes >= kShortest && nontemporal_[static_cast<std::size_t>(range)]) {
    copy_nontemporal(to, from, bytes);
  } else {
    std::memcpy(to, from, bytes);
  }
}

void SlotStores::measure(const std::function<double(std::size_t)>& seconds,
                         const std::function<void(std::span<double>)>& slowest) {
  constexpr int kTurns = 20;
  // [ranges][plain, past the caches]: the shortest, since whatever disturbs only ever adds time.
  std::array<double, 2 * kRanges> times;
  times.fill(std::numeric_limits<double>::infinity());
  for (int turn = 0; turn < kTurns; ++turn) {
    for (std::size_t i = 0; i < times.size(); ++i) {
      nontemporal_.fill(i % 2 == 1);
      times[i] = std::min(times[i], seconds(kMeasuredAt[i / 2]));
    }
  }
  slowest(times);
  for (std::size_t i = 0; i < kRanges; ++i) nontemporal_[i] = times[2 * i + 1] < times[2 * i];
}

std::string SlotStores::to_string() const {
  std::string ranges;
  std::size_t from = kShortest;
  for (std::size_t i = 0; i < nontemporal_.size(); ++i) {
    const bool last = i == kLimits.size();
    if (nontemporal_[i]) {
      ranges += ranges.empty() ? "" : ", ";
      ranges += last ? fmt::format("from {} KiB", from / 1024)
                     : fmt::format("{}-{} KiB", from / 1024, kLimits[i] / 1024);
    }
    if (!last) from = kLimits[i];
  }
  return ranges.empty() ? "plain stores" : "stores past the caches: " + ranges;
}

}  // namespace spd
