// The row-wise operators: GPU against reference.
#include <fmt/format.h>

#include <limits>

#include "kernels/device/error.h"
#include "tests/kernels/cuda/cuda_fixture.h"

namespace spd::test {
namespace {

struct Shape {
  std::int64_t rows, cols;
};
constexpr Shape kShapes[] = {{0, 8}, {1, 1}, {1, 7}, {3, 64}, {5, 577}, {2, 33}, {40, 640}};

std::string describe(const char* what, const Shape& s) {
  return fmt::format("{} [{}, {}]", what, s.rows, s.cols);
}

using CudaOperators = CudaTest;

TEST_F(CudaOperators, Norm) {
  Gpu gpu;
  for (const Shape& s : kShapes) {
    for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
      for (const bool bias : {false, true}) {
        Random random;
        // Far from zero mean: a variance taken as a difference of large numbers would show.
        Matrix x = random.matrix(s.rows, s.cols, 9.0f, 11.0f), wanted(s.rows, s.cols);
        const std::vector<float> weight = random.vector(s.cols), added = random.vector(s.cols);
        const Buffer gpu_weight = gpu.buffer(weight), gpu_added = gpu.buffer(added);
        gpu.reference->norm(x.view(), {kind, weight.data(), bias ? added.data() : nullptr, 1e-5f},
                            wanted.view(), *gpu.host_stream);
        GpuMatrix got(gpu, x);
        gpu.operators->norm(
            got.view(),
            {kind, gpu_weight.as<float>(), bias ? gpu_added.as<float>() : nullptr, 1e-5f},
            got.view(), *gpu.stream);  // in place
        // The mean of numbers near 10 is known to about 1e-6, deviations are of the order of 1.
        expect_near(got.back(), wanted, 1e-5, describe("norm", s));
      }
    }
  }
}

TEST_F(CudaOperators, SumsAndCopies) {
  Gpu gpu;
  for (const Shape& s : kShapes) {
    Random random;
    Matrix a = random.matrix(s.rows, s.cols), b = random.matrix(s.rows, s.cols);
    const std::vector<float> bias = random.vector(s.cols);
    const Buffer gpu_bias = gpu.buffer(bias);
    Matrix wanted(s.rows, s.cols);
    GpuMatrix gpu_a(gpu, a), gpu_b(gpu, b), got(gpu, wanted);
    // One f32 addition has one right result.
    for (const bool biased : {false, true}) {
      gpu.operators->sum(gpu_a.view(), gpu_b.view(), biased ? gpu_bias.as<float>() : nullptr,
                         got.view(), *gpu.stream);
      gpu.reference->sum(a.view(), b.view(), biased ? bias.data() : nullptr, wanted.view(),
                         *gpu.host_stream);
      expect_near(got.back(), wanted, 0.0, describe("sum", s));
    }
    gpu.operators->add(gpu_a.view(), got.view(), *gpu.stream);
    gpu.reference->add(a.view(), wanted.view(), *gpu.host_stream);
    expect_near(got.back(), wanted, 0.0, describe("add", s));
    gpu.operators->add_bias(gpu_bias.as<float>(), got.view(), *gpu.stream);
    gpu.reference->add_bias(bias.data(), wanted.view(), *gpu.host_stream);
    expect_near(got.back(), wanted, 0.0, describe("add_bias", s));
    gpu.operators->copy(gpu_a.view(), got.view(), *gpu.stream);
    expect_near(got.back(), a, 0.0, describe("copy", s));
    gpu.operators->fill(got.view(), -2.5f, *gpu.stream);
    gpu.reference->fill(wanted.view(), -2.5f, *gpu.host_stream);
    expect_near(got.back(), wanted, 0.0, describe("fill", s));
  }
}

TEST_F(CudaOperators, GatherRows) {
  Gpu gpu;
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    for (const std::int64_t cols : {1, 31, 576}) {
      Random random;
      const std::vector<float> numbers = random.vector(20 * cols);
      std::vector<std::byte> stored(numbers.size() * size_of(type));
      convert(numbers.data(), DType::f32, stored.data(), type, numbers.size());
      std::vector<std::int32_t> ids = {19, 0, 7, 7};
      while (ids.size() < 70) ids.push_back(static_cast<std::int32_t>(ids.size() * 3 % 20));
      Matrix wanted(static_cast<std::int64_t>(ids.size()), cols);
      GpuMatrix got(gpu, wanted);
      const HostTable table{stored.data(), type, 20, cols};
      gpu.operators->gather_rows(table, ids, got.view(), *gpu.stream);
      gpu.reference->gather_rows(table, ids, wanted.view(), *gpu.host_stream);
      expect_near(got.back(), wanted, 0.0, fmt::format("gather {} of {}", name(type), cols));
      ids[1] = 20;
      EXPECT_THROW(gpu.operators->gather_rows(table, ids, got.view(), *gpu.stream), Error);
    }
  }
}

TEST_F(CudaOperators, TopK) {
  Gpu gpu;
  for (const Shape& s : {Shape{1, 1}, {3, 5}, {2, 1000}, {20, 613}, {2, 20000}}) {
    for (const std::int64_t k : {std::int64_t{1}, std::int64_t{2}, std::int64_t{40}, s.cols}) {
      if (k > s.cols || k > 1000) continue;
      Random random;
      Matrix logits = random.matrix(s.rows, s.cols);
      // Many ties: half of the logits are multiples of 1/4.
      for (std::int64_t t = 0; t < s.rows; ++t) {
        for (std::int64_t i = 0; i < s.cols; i += 2) {
          logits.at(t, i) = std::round(logits.at(t, i) * 4.0f) / 4.0f;
        }
      }
      GpuMatrix gpu_logits(gpu, logits);
      const auto got = gpu.operators->top_k(gpu_logits.view(), k, *gpu.stream);
      const auto wanted = gpu.reference->top_k(logits.view(), k, *gpu.host_stream);
      ASSERT_EQ(got.size(), static_cast<std::size_t>(s.rows * k));
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i].index, wanted[i].index)
            << "candidate " << i << ", k " << k << " of " << s.cols;
        ASSERT_EQ(got[i].logit, wanted[i].logit);
      }
    }
  }
}

TEST_F(CudaOperators, TopKPutsNanLast) {
  Gpu gpu;
  Matrix logits(1, 40);
  gpu.reference->fill(logits.view(), std::numeric_limits<float>::quiet_NaN(), *gpu.host_stream);
  logits.at(0, 17) = -3.0f;
  logits.at(0, 30) = 2.0f;
  GpuMatrix gpu_logits(gpu, logits);
  EXPECT_EQ(gpu.operators->top_k(gpu_logits.view(), 1, *gpu.stream)[0].index, 30);
  const auto got = gpu.operators->top_k(gpu_logits.view(), 2, *gpu.stream);
  EXPECT_EQ(got[0].index, 30);
  EXPECT_EQ(got[1].index, 17);
}

TEST_F(CudaOperators, LogSumExp) {
  Gpu gpu;
  for (const Shape& s : {Shape{1, 1}, {3, 5}, {2, 1000}, {70, 613}, {1, 49152}}) {
    for (const float range : {1.0f, 200.0f}) {
      Random random;
      Matrix logits = random.matrix(s.rows, s.cols, -range, range);
      GpuMatrix gpu_logits(gpu, logits);
      const auto got = gpu.operators->log_sum_exp(gpu_logits.view(), *gpu.stream);
      const auto wanted = gpu.reference->log_sum_exp(logits.view(), *gpu.host_stream);
      ASSERT_EQ(got.size(), wanted.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i].max, wanted[i].max);
        EXPECT_NEAR(got[i].sum, wanted[i].sum, 5e-5 * wanted[i].sum);
      }
    }
  }
}

TEST_F(CudaOperators, RefusesShapesThatDiffer) {
  Gpu gpu;
  Matrix a(2, 4), b(2, 5), c(3, 4);
  GpuMatrix gpu_a(gpu, a), gpu_b(gpu, b), gpu_c(gpu, c);
  EXPECT_THROW(gpu.operators->sum(gpu_a.view(), gpu_b.view(), nullptr, gpu_a.view(), *gpu.stream),
               Error);
  EXPECT_THROW(gpu.operators->add(gpu_a.view(), gpu_c.view(), *gpu.stream), Error);
  EXPECT_THROW(gpu.operators->copy(gpu_a.view(), gpu_c.view(), *gpu.stream), Error);
  EXPECT_THROW(gpu.operators->top_k(gpu_a.view(), 5, *gpu.stream), Error);
  EXPECT_THROW(gpu.operators->make_weight(DType::f32, -1, 4), Error);
}

// What is read is what lies there: every byte once.
TEST_F(CudaOperators, ReadTouchesEveryWeight) {
  Gpu gpu;
  Random random;
  const auto a = gpu.random_weight(random, DType::bf16, 37, 100);
  const auto b = gpu.random_weight(random, DType::f32, 5, 64);
  const Weight* const weights[] = {&a.gpu, &b.gpu};
  gpu.operators->read(weights, *gpu.stream);
#if defined(SPD_CUDA_EMULATED)
  const auto statistics = cuda_emulation::take_statistics();
  if (checked()) {
    EXPECT_EQ(statistics.at("read").distinct_read, a.gpu.storage.bytes() + b.gpu.storage.bytes());
  }
#endif
}

}  // namespace
}  // namespace spd::test
