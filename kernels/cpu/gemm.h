// Library matrix products in f32.
//
// oneDNN rather than OpenBLAS: on 64 tokens of a head against 512 keys it does 136 GFLOP/s a core
// of an Intel Xeon (AVX-512), OpenBLAS 66, and 157 against 143 on a block's matrices; and it goes
// by what a processor can do, where OpenBLAS goes by its model number: 0.3.21, Debian 12's, takes
// later ones for a Pentium 4 (32 GFLOP/s). One thread a call: each thread of a rank takes its own
// slice of the outputs, so that ranks and threads share no lock.
#pragma once

#include <cstdint>

namespace spd {

/// c[m, n] = a[m, k] * b[n, k]^T + beta * c; row strides in elements. As all of them, throws
/// internal Error where the library refuses.
void multiply_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                         std::int64_t a_stride, const float* b, std::int64_t b_stride, float beta,
                         float* c, std::int64_t c_stride);
/// c[m, n] = a[m, k] * b[k, n] + beta * c.
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride,
              const float* b, std::int64_t b_stride, float beta, float* c, std::int64_t c_stride);

/// c[m, n] = a[k, m]^T * b[k, n] + beta * c.
void multiply_left_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                              std::int64_t a_stride, const float* b, std::int64_t b_stride,
                              float beta, float* c, std::int64_t c_stride);

}  // namespace spd
