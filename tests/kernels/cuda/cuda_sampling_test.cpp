// Draws over a vocabulary: GPU against the host's arithmetic.
#include "kernels/cuda/sampling.h"

#include <cmath>

#include "tests/kernels/cuda/cuda_fixture.h"

namespace spd::test {
namespace {

using CudaSampling = CudaTest;

std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// As runtime/sampler.cpp draws.
Candidate drawn(const float* row, std::int64_t cols, std::int32_t first_id, float scale,
                std::uint64_t seed, const cuda::NoiseKey& key) {
  Candidate best{-1, 0.0f};
  for (std::int64_t i = 0; i < cols; ++i) {
    const auto id = static_cast<std::int32_t>(first_id + i);
    const std::uint64_t hash =
        mix(mix(mix(mix(seed) ^ key.request) ^ key.step) ^ static_cast<std::uint64_t>(id));
    const double u = (static_cast<double>(hash >> 33) + 0.5) * 0x1p-31;
    const float noisy = row[i] * scale + static_cast<float>(-std::log(-std::log(u)));
    if (best.index < 0 || noisy > best.logit) best = {id, noisy};
  }
  return best;
}

TEST_F(CudaSampling, DrawsTheHostsTokens) {
  Gpu gpu;
  for (const std::int64_t cols : {1, 33, 1000, 20000}) {
    Random random;
    constexpr std::int64_t kRows = 4;
    Matrix logits = random.matrix(kRows, cols, -4.0f, 4.0f);
    GpuMatrix gpu_logits(gpu, logits);
    const std::vector<cuda::NoiseKey> keys = {{1, 2}, {3, 4}, {1, 3}, {1u << 31, 77}};
    const Buffer gpu_keys = gpu.buffer(keys);
    const Activations view = gpu_logits.view();
    const cuda::LogitArgs args{{view.data, view.stride}, kRows, static_cast<int>(cols)};
    const int parts = cuda::row_parts(kRows, args.cols, gpu.device.multiprocessors());
    const Buffer found(gpu.device, kRows * parts * sizeof(cuda::Key));
    const Buffer out(gpu.device, kRows * sizeof(Candidate));
    for (const float scale : {1.0f, 1.0f / 0.7f}) {
      cuda::gumbel_top1({args, 500, scale, 42, gpu_keys.as<cuda::NoiseKey>()},
                        found.as<cuda::Key>(), out.as<Candidate>(), gpu.device.queue(*gpu.stream));
      const auto got = gpu.values<Candidate>(out, kRows);
      for (std::int64_t r = 0; r < kRows; ++r) {
        const Candidate wanted = drawn(logits.view().row(r), cols, 500, scale, 42, keys[r]);
        EXPECT_EQ(got[r].index, wanted.index) << cols << " columns, row " << r;
        EXPECT_NEAR(got[r].logit, wanted.logit, 1e-5);
      }
    }
  }
}

TEST_F(CudaSampling, SumsOfExponentials) {
  Gpu gpu;
  for (const std::int64_t cols : {1, 33, 20000}) {
    Random random;
    Matrix logits = random.matrix(3, cols, -30.0f, 2.0f);
    GpuMatrix gpu_logits(gpu, logits);
    const std::vector<float> tops = {2.0f, 1.0f, 0.0f};
    const Buffer gpu_tops = gpu.buffer(tops);
    const Activations view = gpu_logits.view();
    const cuda::LogitArgs args{{view.data, view.stride}, 3, static_cast<int>(cols)};
    const int parts = cuda::row_parts(3, args.cols, gpu.device.multiprocessors());
    const Buffer partial(gpu.device, 3 * parts * sizeof(double)), out(gpu.device, 24);
    cuda::sum_exp(args, gpu_tops.as<float>(), 1.3, partial.as<double>(), out.as<double>(),
                  gpu.device.queue(*gpu.stream));
    const auto got = gpu.values<double>(out, 3);
    for (std::int64_t r = 0; r < 3; ++r) {
      double wanted = 0.0;
      for (std::int64_t i = 0; i < cols; ++i) {
        wanted += std::exp(static_cast<double>(logits.at(r, i) - tops[r]) * 1.3);
      }
      EXPECT_NEAR(got[r], wanted, 1e-12 * wanted) << cols << " columns, row " << r;
    }
  }
}

}  // namespace
}  // namespace spd::test
