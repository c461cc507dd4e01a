#include "kernels/device/host_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/device/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/device/host_memory.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void SumRows(const float* a, const float* b, std::size_t count, float* out) {
  const hn::ScalableTag<float> d;
  constexpr std::size_t kLanes = HWY_MAX_BYTES / sizeof(float);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
  }
  for (; i < count; ++i) out[i] = a[i] + b[i];
}

void StreamCopy(void* to, const void* from, std::size_t bytes) {
  // Whole lines, so that each leaves in one piece; what is before and behind them is copied
  // plainly.
  const hn::ScalableTag<std::uint8_t> d;
  constexpr std::size_t kLine = 64;
  static_assert(kLine % HWY_MAX_BYTES == 0);
  auto* out = static_cast<std::uint8_t*>(to);
  const auto* in = static_cast<const std::uint8_t*>(from);
  std::size_t at = std::min(bytes, -reinterpret_cast<std::uintptr_t>(out) % kLine);
  std::memcpy(out, in, at);
  for (; at + kLine <= bytes; at += kLine) {
    for (std::size_t part = 0; part < kLine; part += HWY_MAX_BYTES) {
      hn::Stream(hn::LoadU(d, in + at + part), d, out + at + part);
    }
  }
  std::memcpy(out + at, in + at, bytes - at);
  hwy::FlushStream();
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spd {

HWY_EXPORT(SumRows);
HWY_EXPORT(StreamCopy);

void sum_rows(const float* a, const float* b, std::size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(SumRows)(a, b, count, out);
}

void copy_nontemporal(void* to, const void* from, std::size_t bytes) {
  HWY_DYNAMIC_DISPATCH(StreamCopy)(to, from, bytes);
}

}  // namespace spd
#endif
