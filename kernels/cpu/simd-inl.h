// Vector helpers that the Highway files share; compiled once for each target (no include guard of
// the usual kind: Highway's toggles).
#if defined(SPD_KERNELS_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPD_KERNELS_CPU_SIMD_INL_H_
#undef SPD_KERNELS_CPU_SIMD_INL_H_
#else
#define SPD_KERNELS_CPU_SIMD_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "kernels/device/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using Vec = hn::Vec<F32>;
constexpr std::size_t kLanes = HWY_MAX_BYTES / sizeof(float);

/// What a stored element looks like in memory.
template <DType type>
struct Stored {
  using Element = std::uint16_t;
};
template <>
struct Stored<DType::f32> {
  using Element = float;
};
template <>
struct Stored<DType::i8> {
  using Element = std::int8_t;
};
template <DType type>
using Element = typename Stored<type>::Element;

/// kLanes elements as f32; unaligned.
template <DType type>
HWY_INLINE Vec load_f32(const Element<type>* from) {
  const F32 d;
  if constexpr (type == DType::f32) {
    return hn::LoadU(d, from);
  } else if constexpr (type == DType::bf16) {
    const hn::Rebind<std::uint16_t, F32> d16;
    const hn::RebindToUnsigned<F32> d32;
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, from))));
  } else {
    const hn::Rebind<std::uint16_t, F32> d16;
    const hn::Rebind<hwy::float16_t, F32> half;
    return hn::PromoteTo(d, hn::BitCast(half, hn::LoadU(d16, from)));
  }
}

/// The first `count` < kLanes elements, zeros behind them; reads nothing beyond.
template <DType type>
HWY_INLINE Vec load_f32_n(const Element<type>* from, std::size_t count) {
  HWY_ALIGN Element<type> padded[kLanes] = {};
  std::memcpy(padded, from, count * sizeof(Element<type>));
  return load_f32<type>(padded);
}

/// kLanes values, rounded to nearest even.
template <DType type>
HWY_INLINE void store_f32(Vec value, Element<type>* to) {
  const F32 d;
  if constexpr (type == DType::f32) {
    hn::StoreU(value, d, to);
  } else if constexpr (type == DType::bf16) {
    // Highway 1.0's own conversion truncates. Infinities stay; a NaN keeps its upper bits.
    const hn::RebindToUnsigned<F32> d32;
    const hn::Rebind<std::uint16_t, F32> d16;
    const auto bits = hn::BitCast(d32, value);
    const auto even = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1));
    const auto rounded = hn::Add(hn::Add(bits, hn::Set(d32, 0x7fff)), even);
    const auto quiet = hn::Or(bits, hn::Set(d32, 0x400000));
    const auto nan = hn::RebindMask(d32, hn::IsNaN(value));
    const auto chosen = hn::IfThenElse(nan, quiet, rounded);
    hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(chosen)), d16, to);
  } else {
    const hn::Rebind<std::uint16_t, F32> d16;
    const hn::Rebind<hwy::float16_t, F32> half;
    hn::StoreU(hn::BitCast(d16, hn::DemoteTo(half, value)), d16, to);
  }
}

template <DType type>
HWY_INLINE void store_f32_n(Vec value, Element<type>* to, std::size_t count) {
  HWY_ALIGN Element<type> padded[kLanes];
  store_f32<type>(value, padded);
  std::memcpy(to, padded, count * sizeof(Element<type>));
}

HWY_INLINE float sum_of(Vec value) { return hn::GetLane(hn::SumOfLanes(F32(), value)); }

/// Calls body(i) for the whole vectors of [0, count), then tail(i, rest) for what is left, if any.
template <class Body, class Tail>
HWY_INLINE void for_vectors(std::size_t count, Body&& body, Tail&& tail) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i);
  if (i < count) tail(i, count - i);
}

/// e^x for x <= 0 as a soft-max needs it: below -87, where results would be denormal, zero.
HWY_INLINE Vec exp_negative(Vec x) {
  const F32 d;
  return hn::IfThenElseZero(hn::Gt(x, hn::Set(d, -87.0f)), hn::Exp(d, x));
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#endif  // SPD_KERNELS_CPU_SIMD_INL_H_
