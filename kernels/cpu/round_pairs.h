// f32 rounded to pairs of bf16, for the kernels that multiply those. In intrinsics: include where
// the processor's kind has been asked for (see gemm_bf16_kernels.cpp).
#pragma once

#if defined(__x86_64__)

#include <hwy/base.h>
#include <immintrin.h>

#include <cstddef>

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
namespace spd {

/// 16 cells: the pairs of up to 32 elements, zeros beyond `count`.
inline __m512i round_pairs(const float* x, std::size_t count) {
  const auto mask = [](std::size_t n) {
    return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1);
  };
  const __m512 low = _mm512_maskz_loadu_ps(mask(count), x);
  const __m512 high =
      count > 16 ? _mm512_maskz_loadu_ps(mask(count - 16), x + 16) : _mm512_setzero_ps();
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

}  // namespace spd
HWY_POP_ATTRIBUTES

#endif
