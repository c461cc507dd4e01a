#include "kernels/cpu/gemm.h"

#include <cblas.h>

namespace spd {

void use_one_blas_thread() { openblas_set_num_threads(1); }

void multiply_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                         std::int64_t a_stride, const float* b, std::int64_t b_stride, float beta,
                         float* c, std::int64_t c_stride) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(m),
              static_cast<blasint>(n), static_cast<blasint>(k), 1.0f, a,
              static_cast<blasint>(a_stride), b, static_cast<blasint>(b_stride), beta, c,
              static_cast<blasint>(c_stride));
}

void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride,
              const float* b, std::int64_t b_stride, float beta, float* c, std::int64_t c_stride) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<blasint>(m),
              static_cast<blasint>(n), static_cast<blasint>(k), 1.0f, a,
              static_cast<blasint>(a_stride), b, static_cast<blasint>(b_stride), beta, c,
              static_cast<blasint>(c_stride));
}

void multiply_left_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                              std::int64_t a_stride, const float* b, std::int64_t b_stride,
                              float beta, float* c, std::int64_t c_stride) {
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, static_cast<blasint>(m),
              static_cast<blasint>(n), static_cast<blasint>(k), 1.0f, a,
              static_cast<blasint>(a_stride), b, static_cast<blasint>(b_stride), beta, c,
              static_cast<blasint>(c_stride));
}

}  // namespace spd
