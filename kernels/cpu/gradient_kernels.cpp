#include "kernels/cpu/gradient_kernels.h"

#include <algorithm>
#include <cmath>

#include "kernels/device/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gradient_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include "kernels/cpu/activation-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {

/// Calls step(index, load, store): whole vectors, then the rest with loads that read nothing beyond
/// and yield zeros there.
template <class Step>
HWY_INLINE void for_row(std::size_t count, Step&& step) {
  const F32 d;
  for_vectors(
      count,
      [&](std::size_t i) HWY_ATTR {
        step(
            i, [&](const float* from) HWY_ATTR { return hn::LoadU(d, from); },
            [&](Vec value, float* to) HWY_ATTR { hn::StoreU(value, d, to); });
      },
      [&](std::size_t i, std::size_t rest) HWY_ATTR {
        step(
            i, [&](const float* from) HWY_ATTR { return load_f32_n<DType::f32>(from, rest); },
            [&](Vec value, float* to) HWY_ATTR { store_f32_n<DType::f32>(value, to, rest); });
      });
}

RowMoments Moments(const float* x, std::size_t count, const Norm& norm) {
  const F32 d;
  const auto n = static_cast<float>(count);
  RowMoments moments;
  if (norm.kind == NormKind::layer) {
    Vec sum = hn::Zero(d);
    for_row(count,
            [&](std::size_t i, auto&& load, auto&&) HWY_ATTR { sum = hn::Add(sum, load(x + i)); });
    moments.mean = sum_of(sum) / n;
  }
  // Centred values, for the reason given in vector_kernels.cpp; the zeros behind the end are not.
  float squares = 0.0f;
  const Vec mean = hn::Set(d, moments.mean);
  Vec sum = hn::Zero(d);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec centred = hn::Sub(hn::LoadU(d, x + i), mean);
    sum = hn::MulAdd(centred, centred, sum);
  }
  for (; i < count; ++i) squares += (x[i] - moments.mean) * (x[i] - moments.mean);
  moments.scale = 1.0f / std::sqrt((sum_of(sum) + squares) / n + norm.epsilon);
  return moments;
}

void NormGradientRow(const float* x, const float* dy, std::size_t count, const Norm& norm,
                     const RowMoments& moments, bool accumulate, float* dx) {
  // With x^ = (x - mean) * scale and g = weight * dy:
  //   dx = scale * (g - mean of g (layer norms only) - x^ * mean of g * x^)
  const F32 d;
  const Vec mean = hn::Set(d, moments.mean), scale = hn::Set(d, moments.scale);
  Vec sum = hn::Zero(d), product = hn::Zero(d);
  for_row(count, [&](std::size_t i, auto&& load, auto&&) HWY_ATTR {
    const Vec g = hn::Mul(load(norm.weight + i), load(dy + i));
    sum = hn::Add(sum, g);
    product = hn::MulAdd(g, hn::Mul(hn::Sub(load(x + i), mean), scale), product);
  });
  const float n = static_cast<float>(count);
  const Vec shift = hn::Set(d, norm.kind == NormKind::layer ? sum_of(sum) / n : 0.0f);
  const Vec factor = hn::Set(d, sum_of(product) / n);
  for_row(count, [&](std::size_t i, auto&& load, auto&& store) HWY_ATTR {
    const Vec g = hn::Mul(load(norm.weight + i), load(dy + i));
    const Vec unit = hn::Mul(hn::Sub(load(x + i), mean), scale);
    Vec result = hn::Mul(scale, hn::NegMulAdd(unit, factor, hn::Sub(g, shift)));
    if (accumulate) result = hn::Add(result, load(dx + i));
    store(result, dx + i);
  });
}

void ActivationGradientRow(Epilogue epilogue, const float* pre, const float* up, const float* dy,
                           std::size_t count, float* dpre, float* dup) {
  const bool gated = is_gated(epilogue);
  for_row(count, [&](std::size_t i, auto&& load, auto&& store) HWY_ATTR {
    const Vec x = load(pre + i), dvalue = load(dy + i);
    const Vec slope = hn::Mul(dvalue, activation_slope(epilogue, x));
    if (gated) {
      const Vec other = load(up + i);
      store(hn::Mul(dvalue, activate(epilogue, x)), dup + i);
      store(hn::Mul(slope, other), dpre + i);
    } else {
      store(slope, dpre + i);
    }
  });
}

void RotateHeadBack(float* head, const float* cosines, const float* sines, std::size_t half) {
  for_row(half, [&](std::size_t i, auto&& load, auto&& store) HWY_ATTR {
    const Vec a = load(head + i), b = load(head + half + i);
    const Vec cosine = load(cosines + i), sine = load(sines + i);
    store(hn::MulAdd(b, sine, hn::Mul(a, cosine)), head + i);
    store(hn::NegMulAdd(a, sine, hn::Mul(b, cosine)), head + half + i);
  });
}

void SoftmaxGradientRow(const float* p, float* dp, std::size_t count, float dot, float scale) {
  const F32 d;
  const Vec dots = hn::Set(d, dot), factor = hn::Set(d, scale);
  for_row(count, [&](std::size_t i, auto&& load, auto&& store) HWY_ATTR {
    store(hn::Mul(hn::Mul(load(p + i), factor), hn::Sub(load(dp + i), dots)), dp + i);
  });
}

float DotRow(const float* a, const float* b, std::size_t count) {
  Vec sum = hn::Zero(F32());
  for_row(count, [&](std::size_t i, auto&& load, auto&&)
                     HWY_ATTR { sum = hn::MulAdd(load(a + i), load(b + i), sum); });
  return sum_of(sum);
}

void ScaleRow(float factor, std::size_t count, float* y) {
  const Vec factors = hn::Set(F32(), factor);
  for_row(count, [&](std::size_t i, auto&& load, auto&& store)
                     HWY_ATTR { store(hn::Mul(load(y + i), factors), y + i); });
}

double DifferenceRow(const float* a, const float* b, std::size_t count, float scale, float* diff) {
  const F32 d;
  const Vec factor = hn::Set(d, scale);
  Vec squares = hn::Zero(d);
  for_row(count, [&](std::size_t i, auto&& load, auto&& store) HWY_ATTR {
    const Vec difference = hn::Sub(load(a + i), load(b + i));
    squares = hn::MulAdd(difference, difference, squares);
    store(hn::Mul(difference, factor), diff + i);
  });
  return sum_of(squares);
}

double SumOfSquaresRow(const float* x, std::size_t count) {
  Vec squares = hn::Zero(F32());
  for_row(count, [&](std::size_t i, auto&& load, auto&&) HWY_ATTR {
    const Vec value = load(x + i);
    squares = hn::MulAdd(value, value, squares);
  });
  return sum_of(squares);
}

double DivergenceRow(const float* teacher, const float* student, float teacher_log_sum_exp,
                     float student_log_sum_exp, std::size_t count, float scale, float* dstudent) {
  const F32 d;
  const Vec teacher_total = hn::Set(d, teacher_log_sum_exp);
  const Vec student_total = hn::Set(d, student_log_sum_exp);
  const Vec factor = hn::Set(d, scale);
  Vec sum = hn::Zero(d);
  const auto step = [&](std::size_t i, auto&& load, auto&& store) HWY_ATTR {
    const Vec log_p = hn::Sub(load(teacher + i), teacher_total);
    const Vec log_q = hn::Sub(load(student + i), student_total);
    const Vec p = exp_negative(hn::Min(log_p, hn::Zero(d)));
    const Vec q = exp_negative(hn::Min(log_q, hn::Zero(d)));
    store(hn::Mul(factor, hn::Sub(q, p)), dstudent + i);
    return hn::Mul(p, hn::Sub(log_p, log_q));
  };
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    sum = hn::Add(sum, step(
                           i, [&](const float* from) HWY_ATTR { return hn::LoadU(d, from); },
                           [&](Vec value, float* to) HWY_ATTR { hn::StoreU(value, d, to); }));
  }
  float rest = 0.0f;
  if (i < count) {
    // What lies behind the end is a zero logit to the loads, which is a token to the sum.
    HWY_ALIGN float terms[kLanes];
    const std::size_t left = count - i;
    hn::StoreU(
        step(
            i, [&](const float* from) HWY_ATTR { return load_f32_n<DType::f32>(from, left); },
            [&](Vec value, float* to) HWY_ATTR { store_f32_n<DType::f32>(value, to, left); }),
        d, terms);
    for (std::size_t j = 0; j < left; ++j) rest += terms[j];
  }
  return sum_of(sum) + rest;
}

void AdamRange(const AdamArgs& args, std::size_t begin, std::size_t end) {
  const F32 d;
  const auto step = static_cast<double>(args.step);
  const auto correction = [&](float beta) {
    return static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(beta), step)));
  };
  const Vec mean_correction = hn::Set(d, correction(args.beta1));
  const Vec square_correction = hn::Set(d, correction(args.beta2));
  const Vec beta1 = hn::Set(d, args.beta1), rest1 = hn::Set(d, 1.0f - args.beta1);
  const Vec beta2 = hn::Set(d, args.beta2), rest2 = hn::Set(d, 1.0f - args.beta2);
  const Vec rate = hn::Set(d, args.rate), epsilon = hn::Set(d, args.epsilon);
  const Vec kept = hn::Set(d, 1.0f - args.rate * args.decay);
  const Vec scale = hn::Set(d, args.gradient_scale);
  for_row(end - begin, [&](std::size_t j, auto&& load, auto&& store) HWY_ATTR {
    const std::size_t i = begin + j;
    const Vec g = hn::Mul(load(args.gradient + i), scale);
    const Vec mean = hn::MulAdd(beta1, load(args.mean + i), hn::Mul(rest1, g));
    const Vec square = hn::MulAdd(beta2, load(args.square + i), hn::Mul(rest2, hn::Mul(g, g)));
    const Vec deviation = hn::Add(hn::Sqrt(hn::Mul(square, square_correction)), epsilon);
    const Vec move = hn::Div(hn::Mul(mean, mean_correction), deviation);
    store(hn::NegMulAdd(rate, move, hn::Mul(load(args.weight + i), kept)), args.weight + i);
    store(mean, args.mean + i);
    store(square, args.square + i);
    store(hn::Zero(d), args.gradient + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spd {

HWY_EXPORT(Moments);
HWY_EXPORT(NormGradientRow);
HWY_EXPORT(ActivationGradientRow);
HWY_EXPORT(RotateHeadBack);
HWY_EXPORT(SoftmaxGradientRow);
HWY_EXPORT(DotRow);
HWY_EXPORT(ScaleRow);
HWY_EXPORT(DifferenceRow);
HWY_EXPORT(SumOfSquaresRow);
HWY_EXPORT(DivergenceRow);
HWY_EXPORT(AdamRange);

RowMoments row_moments(const float* x, std::size_t count, const Norm& norm) {
  return HWY_DYNAMIC_DISPATCH(Moments)(x, count, norm);
}
void norm_gradient_row(const float* x, const float* dy, std::size_t count, const Norm& norm,
                       const RowMoments& moments, bool accumulate, float* dx) {
  HWY_DYNAMIC_DISPATCH(NormGradientRow)(x, dy, count, norm, moments, accumulate, dx);
}
void activation_gradient_row(Epilogue epilogue, const float* pre, const float* up, const float* dy,
                             std::size_t count, float* dpre, float* dup) {
  HWY_DYNAMIC_DISPATCH(ActivationGradientRow)(epilogue, pre, up, dy, count, dpre, dup);
}
void rotate_head_back(float* head, const float* cosines, const float* sines, std::size_t half) {
  HWY_DYNAMIC_DISPATCH(RotateHeadBack)(head, cosines, sines, half);
}
void softmax_gradient_row(const float* p, float* dp, std::size_t count, float dot, float scale) {
  HWY_DYNAMIC_DISPATCH(SoftmaxGradientRow)(p, dp, count, dot, scale);
}
float dot_row(const float* a, const float* b, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(DotRow)(a, b, count);
}
void scale_row(float factor, std::size_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(ScaleRow)(factor, count, y);
}
double difference_row(const float* a, const float* b, std::size_t count, float scale, float* diff) {
  return HWY_DYNAMIC_DISPATCH(DifferenceRow)(a, b, count, scale, diff);
}
double sum_of_squares_row(const float* x, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(SumOfSquaresRow)(x, count);
}
double divergence_row(const float* teacher, const float* student, float teacher_log_sum_exp,
                      float student_log_sum_exp, std::size_t count, float scale, float* dstudent) {
  return HWY_DYNAMIC_DISPATCH(DivergenceRow)(teacher, student, teacher_log_sum_exp,
                                             student_log_sum_exp, count, scale, dstudent);
}
void adam_range(const AdamArgs& args, std::size_t begin, std::size_t end) {
  HWY_DYNAMIC_DISPATCH(AdamRange)(args, begin, end);
}

}  // namespace spd
#endif  // HWY_ONCE
