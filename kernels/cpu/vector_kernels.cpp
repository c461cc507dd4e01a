#include "kernels/cpu/vector_kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/device/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/vector_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include "kernels/cpu/activation-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {

/// Sum of map(element) over a row.
template <class Map>
HWY_INLINE float sum_over(const float* x, std::size_t count, Map&& map) {
  const F32 d;
  Vec even = hn::Zero(d), odd = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    even = hn::Add(even, map(hn::LoadU(d, x + i)));
    odd = hn::Add(odd, map(hn::LoadU(d, x + i + kLanes)));
  }
  float rest = 0.0f;
  for (; i + kLanes <= count; i += kLanes) even = hn::Add(even, map(hn::LoadU(d, x + i)));
  for (; i < count; ++i) rest += hn::GetLane(map(hn::Set(d, x[i])));
  return sum_of(hn::Add(even, odd)) + rest;
}

void NormRow(const float* x, std::size_t count, const Norm& norm, float* out) {
  const F32 d;
  const bool layer = norm.kind == NormKind::layer;
  const auto n = static_cast<float>(count);
  const float mean = layer ? sum_over(x, count, [](Vec v) HWY_ATTR { return v; }) / n : 0.0f;
  const Vec means = hn::Set(d, mean);
  // The variance from centred values: the mean of squares less the square of the mean cancels.
  const float squares = sum_over(x, count, [&](Vec v) HWY_ATTR {
    const Vec centred = hn::Sub(v, means);
    return hn::Mul(centred, centred);
  });
  const float scale = 1.0f / std::sqrt(squares / n + norm.epsilon);
  const Vec scales = hn::Set(d, scale);
  const float* bias = layer ? norm.bias : nullptr;
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec centred = hn::Mul(hn::Sub(hn::LoadU(d, x + i), means), scales);
    const Vec added = bias ? hn::LoadU(d, bias + i) : hn::Zero(d);
    hn::StoreU(hn::MulAdd(centred, hn::LoadU(d, norm.weight + i), added), d, out + i);
  }
  for (; i < count; ++i) {
    out[i] = (x[i] - mean) * scale * norm.weight[i] + (bias ? bias[i] : 0.0f);
  }
}

template <DType type>
void to_f32(const void* from, std::size_t count, float* to) {
  const F32 d;
  const auto* elements = static_cast<const Element<type>*>(from);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(load_f32<type>(elements + i), d, to + i);
  if (i < count)
    store_f32_n<DType::f32>(load_f32_n<type>(elements + i, count - i), to + i, count - i);
}

template <DType type>
void from_f32(const float* from, std::size_t count, void* to) {
  auto* elements = static_cast<Element<type>*>(to);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    store_f32<type>(hn::LoadU(F32(), from + i), elements + i);
  if (i < count)
    store_f32_n<type>(load_f32_n<DType::f32>(from + i, count - i), elements + i, count - i);
}

void ConvertToF32(const void* from, DType type, std::size_t count, float* to) {
  if (type == DType::f32) std::memcpy(to, from, count * sizeof(float));
  if (type == DType::bf16) to_f32<DType::bf16>(from, count, to);
  if (type == DType::f16) to_f32<DType::f16>(from, count, to);
}

void ConvertFromF32(const float* from, std::size_t count, void* to, DType type) {
  if (type == DType::f32) std::memcpy(to, from, count * sizeof(float));
  if (type == DType::bf16) from_f32<DType::bf16>(from, count, to);
  if (type == DType::f16) from_f32<DType::f16>(from, count, to);
}

void RotateHead(float* head, const float* cosines, const float* sines, std::size_t half) {
  const F32 d;
  std::size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Vec a = hn::LoadU(d, head + i), b = hn::LoadU(d, head + half + i);
    const Vec cosine = hn::LoadU(d, cosines + i), sine = hn::LoadU(d, sines + i);
    hn::StoreU(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), d, head + i);
    hn::StoreU(hn::MulAdd(a, sine, hn::Mul(b, cosine)), d, head + half + i);
  }
  for (; i < half; ++i) {
    const float a = head[i], b = head[half + i];
    head[i] = a * cosines[i] - b * sines[i];
    head[half + i] = b * cosines[i] + a * sines[i];
  }
}

void FinishRow(const FinishArgs& args) {
  const F32 d;
  const bool gated = is_gated(args.epilogue);
  const auto step = [&](std::size_t i, auto&& load, auto&& store) HWY_ATTR {
    Vec value = load(args.value + i);
    if (args.bias) value = hn::Add(value, load(args.bias + i));
    value = activate(args.epilogue, value);
    if (gated) {
      Vec up = load(args.up + i);
      if (args.up_bias) up = hn::Add(up, load(args.up_bias + i));
      value = hn::Mul(value, up);
    }
    if (args.accumulate) value = hn::Add(value, load(args.y + i));
    store(value, args.y + i);
  };
  std::size_t i = 0;
  for (; i + kLanes <= args.count; i += kLanes) {
    step(
        i, [&](const float* from) HWY_ATTR { return hn::LoadU(d, from); },
        [&](Vec value, float* to) HWY_ATTR { hn::StoreU(value, d, to); });
  }
  if (const std::size_t rest = args.count - i; rest > 0) {
    step(
        i, [&](const float* from) HWY_ATTR { return load_f32_n<DType::f32>(from, rest); },
        [&](Vec value, float* to) HWY_ATTR { store_f32_n<DType::f32>(value, to, rest); });
  }
}

float MaxOf(const float* row, std::size_t count) {
  const F32 d;
  float max = -std::numeric_limits<float>::infinity();
  std::size_t i = 0;
  if (count >= kLanes) {
    Vec maxima = hn::LoadU(d, row);
    for (i = kLanes; i + kLanes <= count; i += kLanes) {
      maxima = hn::Max(maxima, hn::LoadU(d, row + i));
    }
    max = hn::GetLane(hn::MaxOfLanes(d, maxima));
  }
  for (; i < count; ++i) max = std::max(max, row[i]);
  return max;
}

LogSumExp LogSumExpRow(const float* row, std::size_t count) {
  const F32 d;
  const float max = MaxOf(row, count);
  const float sum = sum_over(
      row, count, [&](Vec v) HWY_ATTR { return exp_negative(hn::Sub(v, hn::Set(d, max))); });
  return {max, sum};
}

void SoftmaxRow(float* row, std::size_t count, float scale) {
  const F32 d;
  const Vec max = hn::Set(d, MaxOf(row, count) * scale);
  const Vec factor = hn::Set(d, scale);
  Vec sums = hn::Zero(d);
  float rest_sum = 0.0f;
  for_vectors(
      count,
      [&](std::size_t i) HWY_ATTR {
        const Vec e = exp_negative(hn::MulSub(hn::LoadU(d, row + i), factor, max));
        hn::StoreU(e, d, row + i);
        sums = hn::Add(sums, e);
      },
      [&](std::size_t i, std::size_t rest) HWY_ATTR {
        const Vec x = load_f32_n<DType::f32>(row + i, rest);
        store_f32_n<DType::f32>(exp_negative(hn::MulSub(x, factor, max)), row + i, rest);
        for (std::size_t j = i; j < i + rest; ++j) rest_sum += row[j];
      });
  const Vec inverse = hn::Set(d, 1.0f / (sum_of(sums) + rest_sum));
  for_vectors(
      count,
      [&](std::size_t i)
          HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, row + i), inverse), d, row + i); },
      [&](std::size_t i, std::size_t rest) HWY_ATTR {
        store_f32_n<DType::f32>(hn::Mul(load_f32_n<DType::f32>(row + i, rest), inverse), row + i,
                                rest);
      });
}

/// The first index from `from` on whose element exceeds the threshold, or count.
std::size_t FindAbove(const float* row, std::size_t from, std::size_t count, float threshold) {
  const F32 d;
  const Vec thresholds = hn::Set(d, threshold);
  std::size_t i = from;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    const Vec low = hn::Max(hn::LoadU(d, row + i), hn::LoadU(d, row + i + kLanes));
    const Vec high =
        hn::Max(hn::LoadU(d, row + i + 2 * kLanes), hn::LoadU(d, row + i + 3 * kLanes));
    if (!hn::AllFalse(d, hn::Gt(hn::Max(low, high), thresholds))) break;
  }
  while (i < count && !(row[i] > threshold)) ++i;
  return i;
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spd {

HWY_EXPORT(NormRow);
HWY_EXPORT(ConvertToF32);
HWY_EXPORT(ConvertFromF32);
HWY_EXPORT(RotateHead);
HWY_EXPORT(FinishRow);
HWY_EXPORT(LogSumExpRow);
HWY_EXPORT(SoftmaxRow);
HWY_EXPORT(FindAbove);

void norm_row(const float* x, std::size_t count, const Norm& norm, float* out) {
  HWY_DYNAMIC_DISPATCH(NormRow)(x, count, norm, out);
}
void convert_to_f32(const void* from, DType type, std::size_t count, float* to) {
  HWY_DYNAMIC_DISPATCH(ConvertToF32)(from, type, count, to);
}
void convert_from_f32(const float* from, std::size_t count, void* to, DType type) {
  HWY_DYNAMIC_DISPATCH(ConvertFromF32)(from, count, to, type);
}
void rotate_head(float* head, const float* cosines, const float* sines, std::size_t half) {
  HWY_DYNAMIC_DISPATCH(RotateHead)(head, cosines, sines, half);
}
void finish_row(const FinishArgs& args) { HWY_DYNAMIC_DISPATCH(FinishRow)(args); }
void softmax_row(float* row, std::size_t count, float scale) {
  HWY_DYNAMIC_DISPATCH(SoftmaxRow)(row, count, scale);
}
LogSumExp log_sum_exp_row(const float* row, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(LogSumExpRow)(row, count);
}

void top_k_row(const float* row, std::size_t count, std::size_t k, Candidate* out) {
  if (k == 0) return;
  // A heap of the k best so far, the worst of them in front: most of the row never touches it.
  const auto value = [](float logit) {
    return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
  };
  const auto better = [&](const Candidate& a, const Candidate& b) {
    const float x = value(a.logit), y = value(b.logit);
    return x != y ? x > y : a.index < b.index;
  };
  for (std::size_t i = 0; i < k; ++i) out[i] = {static_cast<std::int32_t>(i), row[i]};
  std::make_heap(out, out + k, better);
  const auto find = HWY_DYNAMIC_DISPATCH(FindAbove);
  for (std::size_t i = k; i < count; ++i) {
    i = find(row, i, count, value(out[0].logit));
    if (i == count) break;
    std::pop_heap(out, out + k, better);
    out[k - 1] = {static_cast<std::int32_t>(i), row[i]};
    std::push_heap(out, out + k, better);
  }
  std::sort_heap(out, out + k, better);
}

}  // namespace spd
#endif  // HWY_ONCE
