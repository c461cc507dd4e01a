// store_kv and attention: GPU against reference.
#include <fmt/format.h>

#include "kernels/cuda/attention.h"
#include "kernels/device/error.h"
#include "tests/kernels/attention_cases.h"
#include "tests/kernels/cuda/cuda_fixture.h"

namespace spd::test {
namespace {

/// A host cache's copy on the device.
struct GpuCache {
  GpuCache(Gpu& gpu, const Cache& from)
      : keys(gpu.buffer(from.keys)), values(gpu.buffer(from.values)), layer(from.layer) {
    layer.keys = keys.data();
    layer.values = values.data();
  }
  Buffer keys, values;
  KvLayer layer;
};

// As the CPU's: see cpu_attention_test.cpp.
constexpr double kTolerance = 2e-5;

using CudaAttention = CudaTest;
using CudaStoreKv = CudaTest;

TEST_F(CudaAttention, EveryCase) {
  Gpu gpu;
  for (const AttentionCase& c : attention_cases()) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      if (checked() && type == DType::bf16) continue;
      Random random;
      Cache cache(random, type, 4, c.kv_heads, c.capacity, c.head_dim);
      GpuCache gpu_cache(gpu, cache);
      const auto heads = static_cast<std::int64_t>(c.kv_head_of.size());
      Matrix q = random.matrix(rows_of(c.segments), heads * c.head_dim);
      Matrix wanted(rows_of(c.segments), heads * c.head_dim);
      GpuMatrix gpu_q(gpu, q), got(gpu, wanted);
      AttentionArgs args{.q = q.view(),
                         .segments = c.segments,
                         .kv_head_of = c.kv_head_of,
                         .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                         .window = c.window,
                         .cache = cache.layer,
                         .out = wanted.view()};
      gpu.reference->attention(args, *gpu.host_stream);
      args.q = gpu_q.view();
      args.out = got.view();
      args.cache = gpu_cache.layer;
      gpu.operators->attention(args, *gpu.stream);
      // Tensor cores take the query and the weights in the cache's type.
      const bool rounds = std::any_of(c.segments.begin(), c.segments.end(),
                                      [](const Segment& s) { return s.length >= 16; }) &&
                          (c.head_dim == 64 || c.head_dim == 128);
      const double tolerance = !rounds || type == DType::f32 ? kTolerance
                               : type == DType::bf16         ? 1e-2
                                                             : 1.5e-3;
      expect_near(got.back(), wanted, tolerance, fmt::format("{}, {}", c.what, name(type)));
      if (HasFatalFailure()) return;
    }
  }
}

// Groups of one to twelve query heads, all lengths around what a block takes at a time.
TEST_F(CudaAttention, EveryGroupAndLength) {
  Gpu gpu;
  for (const std::int64_t group : {1, 2, 3, 4, 5, 8, 12}) {
    for (const std::int64_t length : {1, 2, 15, 16, 17, 300}) {
      Random random;
      Cache cache(random, DType::f16, 1, 2, 300, 64);
      GpuCache gpu_cache(gpu, cache);
      std::vector<std::int32_t> map;
      for (std::int64_t h = 0; h < 2 * group; ++h) {
        map.push_back(static_cast<std::int32_t>(h / group));
      }
      Matrix q = random.matrix(1, 2 * group * 64), wanted(1, 2 * group * 64);
      GpuMatrix gpu_q(gpu, q), got(gpu, wanted);
      const std::vector<Segment> segments = {{0, 1, 0, length - 1}};
      AttentionArgs args{.q = q.view(),
                         .segments = segments,
                         .kv_head_of = map,
                         .scale = 0.125f,
                         .cache = cache.layer,
                         .out = wanted.view()};
      gpu.reference->attention(args, *gpu.host_stream);
      args.q = gpu_q.view();
      args.out = got.view();
      args.cache = gpu_cache.layer;
      gpu.operators->attention(args, *gpu.stream);
      expect_near(got.back(), wanted, kTolerance,
                  fmt::format("{} heads a group, {} positions", group, length));
      if (HasFatalFailure()) return;
    }
  }
}

// Scores of hundreds: the soft-max is all but one-hot, and neither overflows nor gives NaN.
TEST_F(CudaAttention, LargeScores) {
  Gpu gpu;
  for (const std::int64_t tokens : {1, 20}) {
    Random random;
    Cache cache(random, DType::f32, 1, 1, 100, 64);
    GpuCache gpu_cache(gpu, cache);
    Matrix q = random.matrix(tokens, 2 * 64, -60.0f, 60.0f), wanted(tokens, 2 * 64);
    GpuMatrix gpu_q(gpu, q), got(gpu, wanted);
    const std::vector<Segment> segments = {{0, tokens, 0, 100 - tokens}};
    const std::vector<std::int32_t> map = {0, 0};
    AttentionArgs args{.q = q.view(),
                       .segments = segments,
                       .kv_head_of = map,
                       .scale = 1.0f,
                       .cache = cache.layer,
                       .out = wanted.view()};
    gpu.reference->attention(args, *gpu.host_stream);
    args.q = gpu_q.view();
    args.out = got.view();
    args.cache = gpu_cache.layer;
    gpu.operators->attention(args, *gpu.stream);
    expect_near(got.back(), wanted, 3e-4, "large scores");
  }
}

// Blocks of a paged cache lie anywhere; parts of a row may be empty.
TEST_F(CudaAttention, PagedCacheInParts) {
  Gpu gpu;
  constexpr std::int64_t kBlock = 16, kBlocks = 12, kHeadDim = 64, kHeads = 4, kKvHeads = 2;
  for (const int splits : {1, 2, 4, 16}) {
    Random random;
    Cache blocks(random, DType::bf16, kBlocks, kKvHeads, kBlock, kHeadDim);
    // The same positions, slot by slot, for the reference: slot 0 has 5 blocks, slot 1 has 3.
    const std::vector<std::vector<std::int32_t>> table = {{7, 2, 11, 0, 5}, {3, 9, 1, -1, -1}};
    constexpr std::int64_t kMost = 5;
    Cache whole(random, DType::bf16, 2, kKvHeads, kMost * kBlock, kHeadDim);
    const std::size_t head_bytes = kBlock * kHeadDim * 2;
    for (std::size_t slot = 0; slot < table.size(); ++slot) {
      for (std::int64_t i = 0; i < kMost; ++i) {
        if (table[slot][i] < 0) continue;
        for (std::int64_t h = 0; h < kKvHeads; ++h) {
          const std::size_t from = (table[slot][i] * kKvHeads + h) * head_bytes;
          const std::size_t to = ((slot * kKvHeads + h) * kMost + i) * head_bytes;
          std::copy_n(blocks.keys.begin() + from, head_bytes, whole.keys.begin() + to);
          std::copy_n(blocks.values.begin() + from, head_bytes, whole.values.begin() + to);
        }
      }
    }
    Matrix q = random.matrix(3, kHeads * kHeadDim), wanted(3, kHeads * kHeadDim);
    GpuMatrix gpu_q(gpu, q), got(gpu, wanted);
    const std::vector<Segment> segments = {{0, 1, 0, 77}, {1, 1, 1, 47}, {2, 1, 1, 2}};
    const std::vector<std::int32_t> map = {0, 0, 1, 1};
    gpu.reference->attention({.q = q.view(),
                              .segments = segments,
                              .kv_head_of = map,
                              .scale = 0.1f,
                              .cache = whole.layer,
                              .out = wanted.view()},
                             *gpu.host_stream);
    GpuCache gpu_blocks(gpu, blocks);
    std::vector<std::int32_t> flat;
    for (const auto& row : table) flat.insert(flat.end(), row.begin(), row.end());
    const Buffer gpu_table = gpu.buffer(flat);
    const Buffer rows = gpu.buffer(std::vector<cuda::StepRow>{{0, 77}, {1, 47}, {1, 2}});
    const Buffer groups = gpu.buffer(std::vector<cuda::HeadGroup>{{0, 2, {0, 1}}, {1, 2, {2, 3}}});
    const Buffer partial(gpu.device,
                         cuda::partial_floats(3, kHeads, splits, kHeadDim) * sizeof(float));
    cuda::decode_attention({.q = {gpu_q.view().data, gpu_q.view().stride},
                            .out = {got.view().data, got.view().stride},
                            .rows = rows.as<cuda::StepRow>(),
                            .tokens = 3,
                            .q_heads = kHeads,
                            .groups = groups.as<cuda::HeadGroup>(),
                            .group_count = 2,
                            .widest_group = 2,
                            .scale = 0.1f,
                            .window = 0,
                            .cache = {.keys = gpu_blocks.keys.data(),
                                      .values = gpu_blocks.values.data(),
                                      .type = DType::bf16,
                                      .kv_heads = kKvHeads,
                                      .head_dim = kHeadDim,
                                      .block_size = kBlock,
                                      .blocks = gpu_table.as<std::int32_t>(),
                                      .blocks_a_slot = kMost},
                            .splits = splits,
                            .partial = partial.as<float>()},
                           gpu.device.queue(*gpu.stream));
    expect_near(got.back(), wanted, kTolerance, fmt::format("{} parts", splits));
  }
}

TEST_F(CudaAttention, RefusesWhatDoesNotFit) {
  Gpu gpu;
  Random random;
  Cache cache(random, DType::f32, 2, 2, 10, 8);
  GpuCache gpu_cache(gpu, cache);
  Matrix q(3, 16);
  GpuMatrix gpu_q(gpu, q), out(gpu, q);
  const std::vector<std::int32_t> map = {0, 1};
  const std::vector<Segment> beyond_cache = {{0, 3, 1, 8}};
  EXPECT_THROW(gpu.operators->attention({.q = gpu_q.view(),
                                         .segments = beyond_cache,
                                         .kv_head_of = map,
                                         .cache = gpu_cache.layer,
                                         .out = out.view()},
                                        *gpu.stream),
               Error);
}

TEST_F(CudaStoreKv, EveryCase) {
  Gpu gpu;
  constexpr std::int64_t kCapacity = 64;
  for (const StoreCase& c : store_cases()) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      Random random;
      const std::vector<float> angles =
          random.vector(kCapacity * std::max<std::int64_t>(c.rotary_dim, 1));
      RopeTable rope{Buffer(gpu.host, angles.size() * 4), kCapacity, c.rotary_dim};
      std::copy(angles.begin(), angles.end(), rope.cos_sin.as<float>());
      const RopeTable gpu_rope{gpu.buffer(angles), kCapacity, c.rotary_dim};
      const std::vector<float> weight = random.vector(c.head_dim), bias = random.vector(c.head_dim);
      const Buffer gpu_weight = gpu.buffer(weight), gpu_bias = gpu.buffer(bias);
      const Norm norm{c.norm.value_or(NormKind::rms), weight.data(), bias.data(), 1e-6f};
      const Norm gpu_norm{norm.kind, gpu_weight.as<float>(), gpu_bias.as<float>(), 1e-6f};
      Cache cache(random, type, 3, c.kv_heads, kCapacity, c.head_dim);
      GpuCache gpu_cache(gpu, cache);
      Matrix wanted = random.matrix(rows_of(c.segments), (c.q_heads + 2 * c.kv_heads) * c.head_dim);
      GpuMatrix got(gpu, wanted);
      StoreKvArgs args{.qkv = wanted.view(),
                       .q_heads = c.q_heads,
                       .q_norm = c.norm ? &norm : nullptr,
                       .k_norm = c.norm ? &norm : nullptr,
                       .rope = c.rotary_dim > 0 ? &rope : nullptr,
                       .segments = c.segments,
                       .cache = cache.layer};
      gpu.reference->store_kv(args, *gpu.host_stream);
      args.qkv = got.view();
      args.q_norm = args.k_norm = c.norm ? &gpu_norm : nullptr;
      args.rope = c.rotary_dim > 0 ? &gpu_rope : nullptr;
      args.cache = gpu_cache.layer;
      gpu.operators->store_kv(args, *gpu.stream);
      expect_near(got.back(), wanted, 5e-6, c.what);
      if (HasFatalFailure()) return;
      // Values are copied: equal to the bit. A key that was an f32 rounding error away from a tie
      // may round the other way: one unit of the type.
      EXPECT_EQ(gpu.values<std::byte>(gpu_cache.values, cache.values.size()), cache.values)
          << c.what;
      const std::size_t count = cache.keys.size() / size_of(type);
      const auto stored = gpu.values<std::byte>(gpu_cache.keys, cache.keys.size());
      std::vector<float> keys(count), reference_keys(count);
      convert(stored.data(), type, keys.data(), DType::f32, count);
      convert(cache.keys.data(), type, reference_keys.data(), DType::f32, count);
      const float unit = type == DType::f32 ? 0.0f : type == DType::bf16 ? 1.0f / 128 : 1.0f / 1024;
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_NEAR(keys[i], reference_keys[i], unit * std::abs(reference_keys[i]) + 5e-6f)
            << c.what << ", element " << i;
      }
    }
  }
}

}  // namespace
}  // namespace spd::test
