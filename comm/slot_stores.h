// The stores that fill a slot of shared memory: plain, or past this core's caches, chosen by size.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <span>
#include <string>

namespace spd {

/// Which way is faster is a matter of what the cores of writer and reader share (see
/// copy_nontemporal), so it is measured, for three ranges of sizes. Copies shorter than 2 KiB are
/// over before it matters how they are made: they are always plain.
class SlotStores {
 public:
  /// Copies into a slot, as measured; past the caches until then.
  void copy(void* to, const void* from, std::size_t bytes) const;

  /// Times both ways and keeps the better one of each range. `seconds(bytes)` is what it takes a
  /// rank to send a payload of this size through its slot; `slowest` replaces values by their
  /// maxima over the ranks, so that all choose alike. Both are collective, and throw as
  /// Communicator does.
  void measure(const std::function<double(std::size_t bytes)>& seconds,
               const std::function<void(std::span<double> values)>& slowest);

  /// "stores past the caches: 2-8 KiB, 8-32 KiB", "plain stores".
  std::string to_string() const;

 private:
  static constexpr std::size_t kRanges = 3;
  std::array<bool, kRanges> nontemporal_{true, true, true};
};

}  // namespace spd
