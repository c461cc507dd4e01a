#include "kernels/bench/roof.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <oneapi/dnnl/dnnl.hpp>

namespace spd::bench {
namespace {

constexpr std::int64_t kTokens = 512;
constexpr std::int64_t kWidth = 4096;
constexpr int kRuns = 7;

// An independent yardstick: our own products cannot be a share of themselves.
double product_rate() {
  using dnnl::memory;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const auto description = [](std::int64_t rows, memory::data_type type) {
    return memory::desc({rows, kWidth}, type, memory::format_tag::ab);
  };
  memory x(description(kTokens, memory::data_type::bf16), engine);
  memory weight(description(kWidth, memory::data_type::bf16), engine);
  memory y(description(kTokens, memory::data_type::f32), engine);
  const dnnl::matmul::primitive_desc chosen(
      dnnl::matmul::desc(x.get_desc(), weight.get_desc(), y.get_desc()), engine);
  const dnnl::matmul product(chosen);
  double best_s = std::numeric_limits<double>::infinity();
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    product.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, y}});
    stream.wait();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best_s = std::min(best_s, took.count());
  }
  return 2.0 * static_cast<double>(kTokens * kWidth * kWidth) / best_s;
}

// Weights that no cache holds, read as a decoding step reads them.
double read_rate(Operators& operators, Stream& stream) {
  constexpr std::int64_t kRows = 1 << 17;
  const Weight weight = operators.make_weight(DType::bf16, kRows, kWidth);  // 1 GiB
  double best_s = std::numeric_limits<double>::infinity();
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    operators.read({&weight}, stream);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best_s = std::min(best_s, took.count());
  }
  return static_cast<double>(weight.storage.bytes()) / best_s;
}

}  // namespace

Roof measure_roof(Operators& operators, Stream& stream) {
  omp_set_num_threads(operators.parallelism());  // oneDNN's threads
  return {read_rate(operators, stream), product_rate()};
}

}  // namespace spd::bench
