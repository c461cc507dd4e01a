#include "kernels/cpu/gemv_kernels.h"

#include "kernels/device/simd_targets.h"

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
  if (type != DType::bf16 && type != DType::i8) {
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

// What one step takes from a row, and what rows are padded to: a whole number of steps.
constexpr std::size_t kStep = 2 * kLanes;
constexpr std::size_t kRowUnit = 32;
static_assert(kRowUnit % kStep == 0);
// How far ahead of the loads to fetch. A thread reads its rows as one stream; the hardware's
// prefetcher alone reaches 0.9 of what this does. 1 KiB was enough for an EPYC; an Emerald Rapids
// Xeon, whose memory is further away, reads 13 % faster with 4 KiB.
constexpr std::size_t kPrefetchBytes = 4096;
// Tokens whose x stays in the first-level cache beside the weight's rows are taken one weight row
// at a time, which is how memory is read fastest; beyond it, loads of x are shared by two rows.
constexpr std::size_t kCachedBytes = 24 * 1024;

/// The next kStep weights as two vectors, in the order of arrange_for_dot.
template <DType type>
HWY_INLINE void load_step(const Element<type>* from, Vec& first, Vec& second) {
  const F32 d;
  if constexpr (type == DType::bf16) {
    const hn::RebindToUnsigned<F32> d32;
    const hn::Repartition<std::uint16_t, F32> d16;
    const auto pairs = hn::BitCast(d32, hn::LoadU(d16, from));
    first = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
    second = hn::BitCast(d, hn::And(pairs, hn::Set(d32, 0xffff0000u)));
  } else if constexpr (type == DType::i8) {
    const hn::Rebind<std::int16_t, F32> d16;
    const hn::RebindToSigned<F32> d32;
    const auto pairs = hn::LoadU(d16, reinterpret_cast<const std::int16_t*>(from));
    const auto even = hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs));
    first = hn::ConvertTo(d, hn::PromoteTo(d32, even));
    second = hn::ConvertTo(d, hn::PromoteTo(d32, hn::ShiftRight<8>(pairs)));
  } else {
    first = load_f32<type>(from);
    second = load_f32<type>(from + kLanes);
  }
}

/// Chains of additions that a sum is split over, to hide the latency of one: more where there are
/// few sums.
constexpr int fastest_chains(int rows, int tokens) {
  constexpr int kUnroll = kRowUnit / kStep;
  return rows * tokens == 1 ? 2 * kUnroll : rows * tokens <= 4 ? 2 : 1;
}
constexpr int kSameChains = 2;  // where the order is not to depend on the number of tokens

/// kRows x kTokens dot products at once: each weight is loaded once for all tokens, each x once for
/// all rows.
template <DType type, int kRows, int kTokens, int kChains = fastest_chains(kRows, kTokens)>
HWY_INLINE void dot_tile(const Element<type>* HWY_RESTRICT weight, std::size_t stride,
                         const float* HWY_RESTRICT x, float* HWY_RESTRICT out,
                         std::size_t out_stride) {
  const F32 d;
  constexpr int kUnroll = kRowUnit / kStep;
  Vec sums[kRows][kTokens][kChains];
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) {
      for (int c = 0; c < kChains; ++c) sums[r][t][c] = hn::Zero(d);
    }
  }
  for (std::size_t i = 0; i < stride; i += kRowUnit) {
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      const Element<type>* from = weight + r * stride + i;
      hwy::Prefetch(reinterpret_cast<const std::byte*>(from) + kPrefetchBytes);
      HWY_UNROLL(8)
      for (int u = 0; u < kUnroll; ++u) {
        Vec first, second;
        load_step<type>(from + u * kStep, first, second);
        HWY_UNROLL(8)
        for (int t = 0; t < kTokens; ++t) {
          const float* xt = x + t * stride + i + u * kStep;
          Vec& a = sums[r][t][2 * u % kChains];
          Vec& b = sums[r][t][(2 * u + 1) % kChains];
          a = hn::MulAdd(first, hn::Load(d, xt), a);
          b = hn::MulAdd(second, hn::Load(d, xt + kLanes), b);
        }
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) {
      for (int c = 1; c < kChains; ++c) {
        sums[r][t][0] = hn::Add(sums[r][t][0], sums[r][t][c]);
      }
      out[t * out_stride + r] = sum_of(sums[r][t][0]);
    }
  }
}

template <DType type>
struct DotRowsOf {
  const Element<type>* weight;
  std::size_t stride;
  std::int64_t rows;
  const float* x;
  int tokens;
  float* out;
  std::size_t out_stride;

  /// kTokens tokens from token t on, kRows weight rows at a time.
  template <int kRows, int kTokens, int kChains = fastest_chains(kRows, kTokens)>
  HWY_INLINE void tokens_from(int t) const {
    std::int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) {
      dot_tile<type, kRows, kTokens, kChains>(weight + r * stride, stride, x + t * stride,
                                              out + t * out_stride + r, out_stride);
    }
    for (; r < rows; ++r) {
      dot_tile<type, 1, kTokens, kChains>(weight + r * stride, stride, x + t * stride,
                                          out + t * out_stride + r, out_stride);
    }
  }

  /// Every tile adds up in the same chains.
  void run_by_token() const {
    constexpr int kMost = HWY_CAP_GE512 ? kMaxDotTokens : 4;  // registers for two chains each
    const bool cached = tokens * stride * sizeof(float) <= kCachedBytes;
    int t = 0;
    for (; cached && t + kMost <= tokens; t += kMost) tokens_from<1, kMost, kSameChains>(t);
    for (; !cached && t + 4 <= tokens; t += 4)
      tokens_from<HWY_CAP_GE512 ? 2 : 1, 4, kSameChains>(t);
    for (; t + 2 <= tokens; t += 2) tokens_from<1, 2, kSameChains>(t);
    if (t < tokens) tokens_from<1, 1, kSameChains>(t);
  }

  void run() const {
    if (tokens > 1 && tokens * stride * sizeof(float) > kCachedBytes) {
      int t = 0;
      for (; t + 4 <= tokens; t += 4) tokens_from<2, 4>(t);
      if (tokens - t == 3) tokens_from<2, 3>(t);
      if (tokens - t == 2) tokens_from<2, 2>(t);
      if (tokens - t == 1) tokens_from<2, 1>(t);
      return;
    }
    switch (tokens) {
      case 1:
        return tokens_from<1, 1>(0);
      case 2:
        return tokens_from<1, 2>(0);
      case 3:
        return tokens_from<1, 3>(0);
      case 4:
        return tokens_from<1, 4>(0);
      case 5:
        return tokens_from<1, 5>(0);
      case 6:
        return tokens_from<1, 6>(0);
      case 7:
        return tokens_from<1, 7>(0);
      default:
        return tokens_from<1, kMaxDotTokens>(0);
    }
  }
};

template <DType type>
void dot_typed(const Weight& weight, std::int64_t first, std::int64_t rows, const float* x,
               int tokens, float* out, std::int64_t out_stride, DotOrder order) {
  const auto* w = weight.storage.as<const Element<type>>() + first * weight.stride;
  const DotRowsOf<type> dots{w,   static_cast<std::size_t>(weight.stride), rows, x, tokens,
                             out, static_cast<std::size_t>(out_stride)};
  if (order == DotOrder::by_token) {
    dots.run_by_token();
  } else {
    dots.run();
  }
  if constexpr (type == DType::i8) {
    const float* scales = weight.scales.as<const float>() + first;
    for (int t = 0; t < tokens; ++t) {
      for (std::int64_t r = 0; r < rows; ++r) out[t * out_stride + r] *= scales[r];
    }
  }
}

void DotRows(const Weight& weight, std::int64_t first, std::int64_t rows, const float* x,
             int tokens, float* out, std::int64_t out_stride, DotOrder order) {
  switch (weight.dtype) {
    case DType::f32:
      return dot_typed<DType::f32>(weight, first, rows, x, tokens, out, out_stride, order);
    case DType::bf16:
      return dot_typed<DType::bf16>(weight, first, rows, x, tokens, out, out_stride, order);
    case DType::f16:
      return dot_typed<DType::f16>(weight, first, rows, x, tokens, out, out_stride, order);
    case DType::i8:
      return dot_typed<DType::i8>(weight, first, rows, x, tokens, out, out_stride, order);
  }
}

std::uint64_t SumWords(const void* data, std::size_t bytes) {
  const hn::ScalableTag<std::uint64_t> d;
  constexpr std::size_t kWords = HWY_MAX_BYTES / sizeof(std::uint64_t);
  const auto* words = static_cast<const std::uint64_t*>(data);
  const std::size_t count = bytes / sizeof(std::uint64_t);
  auto a = hn::Zero(d), b = hn::Zero(d), c = hn::Zero(d), e = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 4 * kWords <= count; i += 4 * kWords) {
    for (std::size_t line = 0; line < 4 * HWY_MAX_BYTES; line += 64) {
      hwy::Prefetch(reinterpret_cast<const std::byte*>(words + i) + kPrefetchBytes + line);
    }
    a = hn::Add(a, hn::LoadU(d, words + i));
    b = hn::Add(b, hn::LoadU(d, words + i + kWords));
    c = hn::Add(c, hn::LoadU(d, words + i + 2 * kWords));
    e = hn::Add(e, hn::LoadU(d, words + i + 3 * kWords));
  }
  std::uint64_t sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
  for (; i < count; ++i) sum += words[i];
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spd {

HWY_EXPORT(ArrangeForDot);
HWY_EXPORT(DotRows);
HWY_EXPORT(SumWords);

void arrange_for_dot(const float* x, std::size_t count, DType type, std::size_t stride,
                     float* out) {
  HWY_DYNAMIC_DISPATCH(ArrangeForDot)(x, count, type, stride, out);
}
void dot_rows(const Weight& weight, std::int64_t first, std::int64_t rows, const float* x,
              int tokens, float* out, std::int64_t out_stride, DotOrder order) {
  HWY_DYNAMIC_DISPATCH(DotRows)(weight, first, rows, x, tokens, out, out_stride, order);
}
std::uint64_t sum_words(const void* data, std::size_t bytes) {
  return HWY_DYNAMIC_DISPATCH(SumWords)(data, bytes);
}

}  // namespace spd
#endif  // HWY_ONCE
