#include "kernels/cpu/gemv_kernels.h"

#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemv_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/cache_control.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {

void ArrangeForDot(const float* x, std::size_t count, DType type, std::size_t stride, float* out) {
  if (type != DType::bf16) {
    std::memcpy(out, x, count * sizeof(float));
    std::memset(out + count, 0, (stride - count) * sizeof(float));
    return;
  }
  const F32 d;
  constexpr std::size_t kPair = 2 * kLanes;
  std::size_t i = 0;
  for (; i + kPair <= count; i += kPair) {
    const Vec low = hn::LoadU(d, x + i), high = hn::LoadU(d, x + i + kLanes);
    hn::StoreU(hn::ConcatEven(d, high, low), d, out + i);
    hn::StoreU(hn::ConcatOdd(d, high, low), d, out + i + kLanes);
  }
  for (; i < stride; i += kPair) {
    for (std::size_t j = 0; j < kPair; ++j) {
      out[i + j / 2 + (j % 2) * kLanes] = i + j < count ? x[i + j] : 0.0f;
    }
  }
}

/// Elements of a weight row that one step of the loop takes.
template <DType type>
constexpr std::size_t kStep = type == DType::bf16 ? 2 * kLanes : kLanes;

/// ROWS x TOKENS dot products at once: each weight is loaded once for all tokens, each x once for
/// all rows.
template <DType type, int kRows, int kTokens>
HWY_INLINE void dot_tile(const Element<type>* HWY_RESTRICT weight, std::size_t stride,
                         const float* HWY_RESTRICT x, float* HWY_RESTRICT out,
                         std::size_t out_stride) {
  const F32 d;
  Vec sums[kRows][kTokens];
  Vec odd_sums[kRows][kTokens];  // a second chain of additions hides the latency of the first
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) sums[r][t] = odd_sums[r][t] = hn::Zero(d);
  }
  for (std::size_t i = 0; i < stride; i += kStep<type>) {
    for (int r = 0; r < kRows; ++r) {
      const Element<type>* from = weight + r * stride + i;
      if constexpr (type == DType::bf16) {
        const hn::RebindToUnsigned<F32> d32;
        const hn::Repartition<std::uint16_t, F32> d16;
        const auto pair = hn::BitCast(d32, hn::LoadU(d16, from));
        const Vec even = hn::BitCast(d, hn::ShiftLeft<16>(pair));
        const Vec odd = hn::BitCast(d, hn::And(pair, hn::Set(d32, 0xffff0000u)));
        for (int t = 0; t < kTokens; ++t) {
          const float* xt = x + t * stride + i;
          sums[r][t] = hn::MulAdd(even, hn::Load(d, xt), sums[r][t]);
          odd_sums[r][t] = hn::MulAdd(odd, hn::Load(d, xt + kLanes), odd_sums[r][t]);
        }
      } else {
        const Vec w = load_f32<type>(from);
        for (int t = 0; t < kTokens; ++t) {
          sums[r][t] = hn::MulAdd(w, hn::Load(d, x + t * stride + i), sums[r][t]);
        }
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) {
      if constexpr (type == DType::bf16) sums[r][t] = hn::Add(sums[r][t], odd_sums[r][t]);
      out[t * out_stride + r] = sum_of(sums[r][t]);
    }
  }
}

template <DType type, int kTokens>
HWY_INLINE void dot_tokens(const Element<type>* weight, std::size_t stride, std::int64_t rows,
                           const float* x, float* out, std::size_t out_stride) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    dot_tile<type, 4, kTokens>(weight + r * stride, stride, x, out + r, out_stride);
  }
  for (; r < rows; ++r) {
    dot_tile<type, 1, kTokens>(weight + r * stride, stride, x, out + r, out_stride);
  }
}

template <DType type>
void dot_typed(const Weight& weight, std::int64_t first, std::int64_t rows, const float* x,
               int tokens, float* out, std::int64_t out_stride) {
  const auto* w = weight.storage.as<const Element<type>>() + first * weight.stride;
  int t = 0;
  for (; t + 2 <= tokens; t += 2) {
    dot_tokens<type, 2>(w, weight.stride, rows, x + t * weight.stride, out + t * out_stride,
                        out_stride);
  }
  if (t < tokens) {
    dot_tokens<type, 1>(w, weight.stride, rows, x + t * weight.stride, out + t * out_stride,
                        out_stride);
  }
}

void DotRows(const Weight& weight, std::int64_t first, std::int64_t rows, const float* x,
             int tokens, float* out, std::int64_t out_stride) {
  switch (weight.dtype) {
    case DType::f32:
      return dot_typed<DType::f32>(weight, first, rows, x, tokens, out, out_stride);
    case DType::bf16:
      return dot_typed<DType::bf16>(weight, first, rows, x, tokens, out, out_stride);
    case DType::f16:
      return dot_typed<DType::f16>(weight, first, rows, x, tokens, out, out_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spd {

HWY_EXPORT(ArrangeForDot);
HWY_EXPORT(DotRows);

void arrange_for_dot(const float* x, std::size_t count, DType type, std::size_t stride,
                     float* out) {
  HWY_DYNAMIC_DISPATCH(ArrangeForDot)(x, count, type, stride, out);
}
void dot_rows(const Weight& weight, std::int64_t first, std::int64_t rows, const float* x,
              int tokens, float* out, std::int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(DotRows)(weight, first, rows, x, tokens, out, out_stride);
}

}  // namespace spd
#endif  // HWY_ONCE
