// Activation functions and their slopes on vectors; compiled once for each target.
#if defined(SPD_KERNELS_CPU_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPD_KERNELS_CPU_ACTIVATION_INL_H_
#undef SPD_KERNELS_CPU_ACTIVATION_INL_H_
#else
#define SPD_KERNELS_CPU_ACTIVATION_INL_H_
#endif

#include "kernels/cpu/simd-inl.h"
#include "kernels/operators.h"

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {

/// 1 / (1 + e^-x); the exponent is cut where e^x would overflow, far below what a sum can see.
HWY_INLINE Vec logistic(Vec x) {
  const F32 d;
  const Vec exponent = hn::Min(hn::Neg(x), hn::Set(d, 87.0f));
  return hn::Div(hn::Set(d, 1.0f), hn::Add(hn::Set(d, 1.0f), hn::Exp(d, exponent)));
}

HWY_INLINE Vec silu(Vec x) { return hn::Mul(x, logistic(x)); }

HWY_INLINE Vec gelu_tanh(Vec x) {
  const F32 d;
  // 0.5 * (1 + tanh(u)) is the logistic function of 2u.
  const Vec cube = hn::Mul(hn::Mul(x, x), x);
  const Vec u = hn::Mul(hn::Set(d, 1.5957691216f), hn::MulAdd(cube, hn::Set(d, 0.044715f), x));
  return hn::Mul(x, logistic(u));
}

/// Of a normal variable below x: erf by formula 7.1.26 of Abramowitz and Stegun (error below
/// 1.5e-7).
HWY_INLINE Vec normal_probability(Vec x) {
  const F32 d;
  const Vec one = hn::Set(d, 1.0f);
  const Vec z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678f));
  const Vec t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911f), one));
  Vec poly = hn::Set(d, 1.061405429f);
  poly = hn::MulAdd(poly, t, hn::Set(d, -1.453152027f));
  poly = hn::MulAdd(poly, t, hn::Set(d, 1.421413741f));
  poly = hn::MulAdd(poly, t, hn::Set(d, -0.284496736f));
  poly = hn::MulAdd(poly, t, hn::Set(d, 0.254829592f));
  // 1 - erf(z); of a positive x the result is 1 less half of it, of a negative one half of it.
  const Vec rest = hn::Mul(hn::Mul(poly, t), exp_negative(hn::Neg(hn::Mul(z, z))));
  const Vec half = hn::Mul(hn::Set(d, 0.5f), rest);
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), half, hn::Sub(one, half));
}

/// Exact GELU.
HWY_INLINE Vec gelu(Vec x) { return hn::Mul(x, normal_probability(x)); }

HWY_INLINE Vec activate(Epilogue epilogue, Vec x) {
  switch (epilogue) {
    case Epilogue::none:
      return x;
    case Epilogue::relu:
      return hn::Max(x, hn::Zero(F32()));
    case Epilogue::gelu:
      return gelu(x);
    case Epilogue::gelu_tanh:
    case Epilogue::gated_gelu_tanh:
      return gelu_tanh(x);
    case Epilogue::silu:
    case Epilogue::gated_silu:
      return silu(x);
  }
  return x;
}

/// The derivative of `activate`.
HWY_INLINE Vec activation_slope(Epilogue epilogue, Vec x) {
  const F32 d;
  const Vec one = hn::Set(d, 1.0f);
  switch (epilogue) {
    case Epilogue::none:
      return one;
    case Epilogue::relu:
      return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), one);
    case Epilogue::gelu: {
      // Phi(x) + x * phi(x)
      const Vec density =
          hn::Mul(hn::Set(d, 0.39894228f), exp_negative(hn::Mul(hn::Set(d, -0.5f), hn::Mul(x, x))));
      return hn::MulAdd(x, density, normal_probability(x));
    }
    case Epilogue::gelu_tanh:
    case Epilogue::gated_gelu_tanh: {
      const Vec square = hn::Mul(x, x);
      const Vec inner = hn::MulAdd(square, hn::Set(d, 0.044715f), one);
      const Vec gate = logistic(hn::Mul(hn::Set(d, 1.5957691216f), hn::Mul(x, inner)));
      const Vec steep =
          hn::Mul(hn::Set(d, 1.5957691216f), hn::MulAdd(square, hn::Set(d, 3.0f * 0.044715f), one));
      return hn::Mul(gate, hn::MulAdd(hn::Mul(x, steep), hn::Sub(one, gate), one));
    }
    case Epilogue::silu:
    case Epilogue::gated_silu: {
      const Vec gate = logistic(x);
      return hn::Mul(gate, hn::MulAdd(x, hn::Sub(one, gate), one));
    }
  }
  return one;
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#endif  // SPD_KERNELS_CPU_ACTIVATION_INL_H_
