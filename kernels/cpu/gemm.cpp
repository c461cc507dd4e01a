#include "kernels/cpu/gemm.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <oneapi/dnnl/dnnl.h>

#include "kernels/device/error.h"

namespace spd {
namespace {

// oneDNN takes as many threads as OpenMP would give the calling one, and has no way to say how
// many. It brings the OpenMP runtime that it was built with: whichever that is, it has this
// function, by which a thread speaks for itself.
void use_one_thread() {
  using SetThreads = void (*)(int);
  static const auto set_threads =
      reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  thread_local const bool done = [] {
    if (set_threads) set_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

void product(char transpose_a, char transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
             const float* a, std::int64_t a_stride, const float* b, std::int64_t b_stride,
             float beta, float* c, std::int64_t c_stride) {
  use_one_thread();
  const dnnl_status_t status = dnnl_sgemm(transpose_a, transpose_b, m, n, k, 1.0f, a, a_stride, b,
                                          b_stride, beta, c, c_stride);
  if (status != dnnl_success) {
    throw Error(ErrorCode::internal, fmt::format("oneDNN's product of {} x {} x {}: status {}", m,
                                                 n, k, static_cast<int>(status)));
  }
}

}  // namespace

void multiply_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                         std::int64_t a_stride, const float* b, std::int64_t b_stride, float beta,
                         float* c, std::int64_t c_stride) {
  product('N', 'T', m, n, k, a, a_stride, b, b_stride, beta, c, c_stride);
}

void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride,
              const float* b, std::int64_t b_stride, float beta, float* c, std::int64_t c_stride) {
  product('N', 'N', m, n, k, a, a_stride, b, b_stride, beta, c, c_stride);
}

void multiply_left_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                              std::int64_t a_stride, const float* b, std::int64_t b_stride,
                              float beta, float* c, std::int64_t c_stride) {
  product('T', 'N', m, n, k, a, a_stride, b, b_stride, beta, c, c_stride);
}

}  // namespace spd
