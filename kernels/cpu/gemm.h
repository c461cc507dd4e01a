// Library matrix products for many tokens.
//
// OpenBLAS in f32, one thread a call: each thread of a rank takes its own slice of the outputs, so
// that ranks and threads share no lock. 16-bit weights become f32 a tile at a time, which costs one
// conversion a weight for all tokens of a step.
#pragma once

#include <cstdint>

namespace spd {

/// Keeps the library to the calling thread; before the first product.
void use_one_blas_thread();

/// c[m, n] = a[m, k] * b[n, k]^T + beta * c; row strides in elements.
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
