#include "kernels/device/huge_slabs.h"

#include <sys/mman.h>

#include <cstdint>
#include <iterator>

namespace spd {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = 2u << 20;

// A mapping that begins on a huge page. What is mapped is not yet memory: pages come when touched.
std::byte* map_slab() {
  constexpr std::size_t kMapped = HugeSlabs::kSlabBytes + kHugePage;
  void* data = mmap(nullptr, kMapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  auto* first = static_cast<std::byte*>(data);
  const std::size_t before =
      (kHugePage - reinterpret_cast<std::uintptr_t>(first) % kHugePage) % kHugePage;
  if (before > 0) munmap(first, before);
  munmap(first + before + HugeSlabs::kSlabBytes, kHugePage - before);
  madvise(first + before, HugeSlabs::kSlabBytes, MADV_HUGEPAGE);  // only a hint
  return first + before;
}

}  // namespace

void* HugeSlabs::allocate(std::size_t bytes) {
  const std::size_t padded = (bytes + kLine - 1) / kLine * kLine;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (current_ == nullptr || slabs_[current_].used + padded > kSlabBytes) {
    std::byte* slab = map_slab();
    if (slab == nullptr) return nullptr;
    current_ = slab;
    slabs_[slab] = {};
  }
  Slab& slab = slabs_[current_];
  std::byte* data = current_ + slab.used;
  slab.used += padded;
  ++slab.pieces;
  return data;
}

void HugeSlabs::release(void* data) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto slab = std::prev(slabs_.upper_bound(static_cast<std::byte*>(data)));
  if (--slab->second.pieces > 0) return;
  if (slab->first == current_) current_ = nullptr;
  munmap(slab->first, kSlabBytes);
  slabs_.erase(slab);
}

}  // namespace spd
