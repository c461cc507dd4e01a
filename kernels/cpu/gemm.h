// Library matrix products in f32, and of bf16 with f32 sums.
//
// oneDNN rather than OpenBLAS: on 64 tokens of a head against 512 keys it does 136 GFLOP/s a core
// of an Intel Xeon (AVX-512), OpenBLAS 66, and 157 against 143 on a block's matrices; and it goes
// by what a processor can do, where OpenBLAS goes by its model number: 0.3.21, Debian 12's, takes
// later ones for a Pentium 4 (32 GFLOP/s). One thread a call: each thread of a rank takes its own
// slice of the outputs, so that ranks and threads share no lock.
#pragma once

#include <cstddef>
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

/// Whether the processor multiplies bf16 (AVX-512-BF16, AMX-BF16): elsewhere the library may still
/// do multiply_bf16, slower than it does f32.
bool multiplies_bf16();

/// Rounds to nearest even, denormals to zero. Only where the processor multiplies bf16.
void round_to_bf16(const float* from, std::size_t count, std::uint16_t* to);

/// A bf16 matrix as an operand; one of its strides is 1: the row's where it is stored transposed.
struct Bf16Operand {
  const void* data = nullptr;
  std::int64_t row_stride = 0;  ///< elements from row to row
  std::int64_t col_stride = 1;  ///< elements from column to column
};

/// c[m, n] = a[m, k] * b[k, n], or c += that where `accumulate`; sums in f32. Each shape's code is
/// made once a thread, and kept. On a core of an Intel Xeon with AMX-BF16 500-900 GFLOP/s on a
/// block's matrices, whichever is transposed (oneDNN 2.7).
void multiply_bf16(std::int64_t m, std::int64_t n, std::int64_t k, const Bf16Operand& a,
                   const Bf16Operand& b, bool accumulate, float* c, std::int64_t c_stride);

}  // namespace spd
