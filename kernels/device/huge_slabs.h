// Memory for buffers of middling size, side by side on huge pages.
//
// A block's weights are a megabyte or three each: too small for huge pages of their own, and read
// from end to end for every token. On pages of 4 KiB the processor's prefetchers stop at each page
// and half of the read bandwidth is lost.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace spd {

/// Hands out pieces of large mappings, one behind the other. A mapping goes back to the system when
/// all of its pieces were released; what is released before is not used again. Thread-safe.
class HugeSlabs {
 public:
  static constexpr std::size_t kSlabBytes = 32u << 20;

  /// Zero-filled, 64-byte aligned, bytes <= kSlabBytes. Null when memory is short.
  void* allocate(std::size_t bytes);
  void release(void* data) noexcept;

 private:
  struct Slab {
    std::size_t used = 0;
    std::size_t pieces = 0;
  };
  std::mutex mutex_;
  std::map<std::byte*, Slab> slabs_;  // by address
  std::byte* current_ = nullptr;      // the one that is being filled
};

}  // namespace spd
