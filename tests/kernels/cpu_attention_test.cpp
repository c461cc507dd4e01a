// store_kv and attention: CPU against reference.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/device/error.h"
#include "tests/kernels/attention_cases.h"
#include "tests/kernels/operators_fixture.h"

namespace spd::test {
namespace {

// Scores are f32 dot products of head_dim terms below 1, soft-max weights their exponentials (error
// of a score becomes a relative error of its weight), outputs means of values below 1.
constexpr double kTolerance = 2e-5;

TEST(CpuAttention, EveryCase) {
  for (const AttentionCase& c : attention_cases()) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      for (const int threads : {1, 2}) {
        Pair ops(threads);
        Random random;
        Cache cache(random, type, 4, c.kv_heads, c.capacity, c.head_dim);
        const auto heads = static_cast<std::int64_t>(c.kv_head_of.size());
        Matrix q = random.matrix(rows_of(c.segments), heads * c.head_dim);
        Matrix got(rows_of(c.segments), heads * c.head_dim), wanted = got;
        AttentionArgs args{.q = q.view(),
                           .segments = c.segments,
                           .kv_head_of = c.kv_head_of,
                           .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                           .window = c.window,
                           .cache = cache.layer,
                           .out = wanted.view()};
        ops.reference->attention(args, *ops.stream);
        args.out = got.view();
        ops.cpu->attention(args, *ops.stream);
        expect_near(got, wanted, kTolerance,
                    fmt::format("{}, {}, {} threads", c.what, name(type), threads));
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Scores of hundreds: the soft-max is all but one-hot, and neither overflows nor gives NaN.
TEST(CpuAttention, LargeScores) {
  for (const std::int64_t tokens : {1, 60}) {
    Pair ops;
    Random random;
    Cache cache(random, DType::f32, 1, 1, 100, 64);
    Matrix q = random.matrix(tokens, 2 * 64, -60.0f, 60.0f);
    Matrix got(tokens, 2 * 64), wanted = got;
    const std::vector<Segment> segments = {{0, tokens, 0, 100 - tokens}};
    const std::vector<std::int32_t> map = {0, 0};
    AttentionArgs args{.q = q.view(),
                       .segments = segments,
                       .kv_head_of = map,
                       .scale = 1.0f,
                       .cache = cache.layer,
                       .out = wanted.view()};
    ops.reference->attention(args, *ops.stream);
    args.out = got.view();
    ops.cpu->attention(args, *ops.stream);
    // An f32 score near 300 is known to about 3e-5, and so is the logarithm of its weight.
    expect_near(got, wanted, 3e-4, "large scores");
  }
}

TEST(CpuAttention, RefusesWhatDoesNotFit) {
  Pair ops;
  Random random;
  Cache cache(random, DType::f32, 2, 2, 10, 8);
  Matrix q(3, 16), wide(3, 24);
  const std::vector<std::int32_t> map = {0, 1}, bad_map = {0, 2};
  const std::vector<Segment> good = {{0, 3, 1, 7}}, beyond_cache = {{0, 3, 1, 8}},
                             bad_slot = {{0, 3, 2, 0}}, beyond_rows = {{1, 3, 1, 0}};
  struct Bad {
    const char* what;
    const std::vector<Segment>* segments;
    const std::vector<std::int32_t>* map;
    Matrix* q;
  };
  for (const Bad& bad :
       {Bad{"positions", &beyond_cache, &map, &q}, Bad{"slot", &bad_slot, &map, &q},
        Bad{"rows", &beyond_rows, &map, &q}, Bad{"KV head", &good, &bad_map, &q},
        Bad{"features", &good, &map, &wide}}) {
    Matrix out = *bad.q;
    EXPECT_THROW(ops.cpu->attention({.q = bad.q->view(),
                                     .segments = *bad.segments,
                                     .kv_head_of = *bad.map,
                                     .cache = cache.layer,
                                     .out = out.view()},
                                    *ops.stream),
                 Error)
        << bad.what;
  }
}

TEST(CpuStoreKv, EveryCase) {
  constexpr std::int64_t kCapacity = 64;
  for (const StoreCase& c : store_cases()) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      for (const int threads : {1, 2}) {
        const std::string what = fmt::format("{}, {}, {} threads", c.what, name(type), threads);
        Pair ops(threads);
        Random random;
        RopeTable rope{Buffer(ops.device, kCapacity * std::max<std::int64_t>(c.rotary_dim, 1) * 4),
                       kCapacity, c.rotary_dim};
        for (std::int64_t i = 0; i < kCapacity * c.rotary_dim; ++i) {
          rope.cos_sin.as<float>()[i] = random.uniform(-1.0f, 1.0f);
        }
        const std::vector<float> weight = random.vector(c.head_dim),
                                 bias = random.vector(c.head_dim);
        const Norm norm{c.norm.value_or(NormKind::rms), weight.data(), bias.data(), 1e-6f};
        Cache cache(random, type, 3, c.kv_heads, kCapacity, c.head_dim);
        Cache reference_cache = cache;
        Matrix got = random.matrix(rows_of(c.segments), (c.q_heads + 2 * c.kv_heads) * c.head_dim);
        Matrix wanted = got;
        StoreKvArgs args{.qkv = wanted.view(),
                         .q_heads = c.q_heads,
                         .q_norm = c.norm ? &norm : nullptr,
                         .k_norm = c.norm ? &norm : nullptr,
                         .rope = c.rotary_dim > 0 ? &rope : nullptr,
                         .segments = c.segments,
                         .cache = reference_cache.layer};
        ops.reference->store_kv(args, *ops.stream);
        args.qkv = got.view();
        args.cache = cache.layer;
        ops.cpu->store_kv(args, *ops.stream);
        // A few f32 operations on values of the order of one.
        expect_near(got, wanted, 5e-6, what);
        if (HasFatalFailure()) return;
        // Values are copied: equal to the bit. A key that was an f32 rounding error away from a tie
        // may round the other way: one unit of the type.
        EXPECT_EQ(cache.values, reference_cache.values) << what;
        const std::size_t count = cache.keys.size() / size_of(type);
        std::vector<float> keys(count), reference_keys(count);
        convert(cache.keys.data(), type, keys.data(), DType::f32, count);
        convert(reference_cache.keys.data(), type, reference_keys.data(), DType::f32, count);
        const float unit = type == DType::f32    ? 0.0f
                           : type == DType::bf16 ? 1.0f / 128
                                                 : 1.0f / 1024;
        for (std::size_t i = 0; i < count; ++i) {
          ASSERT_NEAR(keys[i], reference_keys[i], unit * std::abs(reference_keys[i]) + 5e-6f)
              << what << ", element " << i;
        }
      }
    }
  }
}

TEST(CpuStoreKv, RefusesWhatDoesNotFit) {
  Pair ops;
  Random random;
  Cache cache(random, DType::f32, 1, 1, 10, 8);
  const RopeTable rope{Buffer(ops.device, 4 * 8 * 4), 4, 8};
  const RopeTable too_wide{Buffer(ops.device, 10 * 16 * 4), 10, 16};
  Matrix qkv(2, 32), narrow(2, 24);
  const std::vector<Segment> good = {{0, 2, 0, 2}}, beyond = {{0, 2, 0, 3}};
  const StoreKvArgs base{
      .qkv = qkv.view(), .q_heads = 2, .rope = &rope, .segments = good, .cache = cache.layer};
  EXPECT_NO_THROW(ops.cpu->store_kv(base, *ops.stream));
  StoreKvArgs args = base;
  args.qkv = narrow.view();
  EXPECT_THROW(ops.cpu->store_kv(args, *ops.stream), Error);
  args = base;
  args.segments = beyond;  // position 4 of a table of 4
  EXPECT_THROW(ops.cpu->store_kv(args, *ops.stream), Error);
  args = base;
  args.rope = &too_wide;
  EXPECT_THROW(ops.cpu->store_kv(args, *ops.stream), Error);
}

}  // namespace
}  // namespace spd::test
