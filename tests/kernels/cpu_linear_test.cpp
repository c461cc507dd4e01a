#include "kernels/cpu/cpu_linear.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>

#include "kernels/cpu/gemm_kernels.h"
#include "kernels/device/error.h"
#include "tests/kernels/operators_fixture.h"

namespace spd::test {
namespace {

struct Case {
  std::int64_t tokens, in, out;
  DType type = DType::bf16;
  Epilogue epilogue = Epilogue::none;
  std::optional<NormKind> norm = std::nullopt;
  bool bias = false;
  bool accumulate = false;
  std::int64_t side = 0;  // outputs of a side product
  bool addends = false;
  std::optional<DType> side_type = std::nullopt;  // other than the main product's
};

std::string describe(const Case& c, int threads) {
  return fmt::format(
      "{} x {} -> {}, {}, epilogue {}, norm {}, bias {}, accumulate {}, addends {}, "
      "threads {}",
      c.tokens, c.in, c.out, name(c.type), static_cast<int>(c.epilogue),
      c.norm ? static_cast<int>(*c.norm) : -1, c.bias, c.accumulate, c.addends, threads);
}

// f32 sums of at most a few thousand terms of at most 1 / sqrt(terms) each: rounding walks to about
// 6e-8 * sqrt(terms) in the mean, and the worst of many outputs is several times that. Activations
// add a few units in the last place (erf 1.5e-7).
constexpr double kTolerance = 2e-5;

void compare(const Case& c, int threads) {
  Pair ops(threads);
  Random random(static_cast<unsigned>(c.tokens * 31 + c.in * 7 + c.out));
  Matrix x = random.matrix(c.tokens, c.in, -2.0f, 2.0f);
  const std::int64_t weight_rows = is_gated(c.epilogue) ? 2 * c.out : c.out;
  const Weight weight = ops.random_weight(random, c.type, weight_rows, c.in);
  const std::vector<float> bias = random.vector(weight_rows);
  const std::vector<float> norm_weight = random.vector(c.in, 0.5f, 1.5f);
  const std::vector<float> norm_bias = random.vector(c.in);
  const Norm norm{.kind = c.norm.value_or(NormKind::rms),
                  .weight = norm_weight.data(),
                  .bias = norm_bias.data()};
  Matrix got = random.matrix(c.tokens, c.out);
  Matrix wanted = got;
  LinearArgs args{.x = x.view(),
                  .norm = c.norm ? &norm : nullptr,
                  .weight = &weight,
                  .bias = c.bias ? bias.data() : nullptr,
                  .epilogue = c.epilogue,
                  .accumulate = c.accumulate,
                  .y = wanted.view()};
  Matrix a = random.matrix(c.tokens, c.out), b = random.matrix(c.tokens, c.out);
  if (c.addends) args.plus = {a.view(), b.view()};
  const Weight side = ops.random_weight(random, c.side_type.value_or(c.type), c.side, c.in);
  Matrix side_got = random.matrix(c.tokens, c.side);
  Matrix side_wanted = side_got;
  if (c.side > 0) args.side = {&side, c.accumulate, side_wanted.view()};
  ops.reference->linear(args, *ops.stream);
  args.y = got.view();
  if (c.side > 0) args.side.y = side_got.view();
  ops.cpu->linear(args, *ops.stream);
  expect_near(got, wanted, kTolerance, describe(c, threads));
  expect_near(side_got, side_wanted, kTolerance, describe(c, threads) + ", side product");
}

TEST(CpuLinear, EveryShape) {
  for (const int threads : {1, 2}) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16, DType::i8}) {
      for (const std::int64_t tokens : {0, 1, 2, 3, 5, 8, 9, 13, 24, 37, 70}) {
        for (const auto& [in, out] : std::initializer_list<std::pair<int, int>>{
                 {1, 1}, {7, 5}, {64, 192}, {65, 63}, {576, 33}, {100, 257}, {1536, 17}}) {
          compare({.tokens = tokens, .in = in, .out = out, .type = type}, threads);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(CpuLinear, EveryEpilogueWithNormBiasAndAccumulation) {
  for (const int threads : {1, 2}) {
    for (const std::int64_t tokens : {1, 4, 41}) {
      for (const auto epilogue :
           {Epilogue::none, Epilogue::relu, Epilogue::gelu, Epilogue::gelu_tanh, Epilogue::silu,
            Epilogue::gated_silu, Epilogue::gated_gelu_tanh}) {
        for (const auto norm : {std::optional<NormKind>(), std::optional(NormKind::rms),
                                std::optional(NormKind::layer)}) {
          for (const bool bias : {false, true}) {
            for (const bool accumulate : {false, true}) {
              compare({tokens, 96, 75, DType::bf16, epilogue, norm, bias, accumulate}, threads);
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

// Kernels write whole tiles where they belong; tokens and outputs that fill none go another way.
TEST(CpuLinear, WholeTilesAndWhatIsLeft) {
  for (const int threads : {1, 2}) {
    for (const std::int64_t tokens : {1, 11, 12, 24, 41, 130}) {
      for (const auto& [in, out] :
           std::initializer_list<std::pair<int, int>>{{64, 96}, {700, 192}, {64, 210}}) {
        for (const bool bias : {false, true}) {
          for (const bool accumulate : {false, true}) {
            compare({tokens, in, out, DType::bf16, Epilogue::none, {}, bias, accumulate}, threads);
            if (HasFatalFailure()) return;
          }
          compare({tokens, in, out, DType::bf16, Epilogue::none, {}, bias, false, 0, true},
                  threads);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(CpuLinear, ASumDependsNeitherOnOtherTokensNorOnThreads) {
  for (const MatmulMode products :
       {MatmulMode::f32, MatmulMode::bf16_pairs, MatmulMode::bf16_tiles}) {
    Pair ops(1, products), two(2, products);
    Random random;
    Matrix x = random.matrix(130, 700), many = random.matrix(130, 176);
    const Weight weight = ops.random_weight(random, DType::bf16, 176, 700);
    Matrix few = many, shared = many;
    const auto add = [&](Pair& by, std::int64_t tokens, Matrix& y) {
      by.cpu->linear({.x = x.view().row_range(0, tokens),
                      .norm = nullptr,
                      .weight = &weight,
                      .bias = nullptr,
                      .accumulate = true,
                      .y = y.view().row_range(0, tokens)},
                     *ops.stream);
    };
    add(ops, 130, many);
    add(ops, 41, few);
    add(two, 130, shared);
    for (std::int64_t t = 0; t < 130; ++t) {
      for (std::int64_t n = 0; n < 176; ++n) {
        if (t < 41) {
          ASSERT_EQ(few.at(t, n), many.at(t, n)) << t << " " << n;
        }
        ASSERT_EQ(shared.at(t, n), many.at(t, n)) << t << " " << n;
      }
    }
  }
}

TEST(CpuLinear, SideProducts) {
  for (const int threads : {1, 2}) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      for (const std::int64_t tokens : {1, 5, 13, 70}) {
        for (const std::int64_t side : {1, 16, 33, 64}) {
          for (const bool accumulate : {false, true}) {
            compare({tokens, 576, 75, type, Epilogue::gated_silu, NormKind::rms, false, accumulate,
                     side},
                    threads);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(CpuLinear, SideProductsInI8) {
  for (const int threads : {1, 2}) {
    for (const std::int64_t tokens : {1, 5, 13, 70}) {
      for (const std::int64_t side : {1, 16, 33, 64}) {
        compare({.tokens = tokens,
                 .in = 576,
                 .out = 75,
                 .epilogue = Epilogue::gated_silu,
                 .norm = NormKind::rms,
                 .side = side,
                 .side_type = DType::i8},
                threads);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Where the processor multiplies bf16, activations are rounded to bf16 and nothing else is.
void expect_rounded_activations_only(MatmulMode products) {
  for (const int threads : {1, 2}) {
    Pair ops(threads, products);
    for (const std::int64_t tokens : {12, 13, 40, 530}) {
      for (const auto& [in, out] : std::initializer_list<std::pair<int, int>>{
               {1, 1}, {7, 5}, {33, 63}, {64, 192}, {129, 33}, {576, 70}, {1536, 17}, {2100, 40}}) {
        Random random(static_cast<unsigned>(tokens + in));
        Matrix x = random.matrix(tokens, in, -2.0f, 2.0f);
        Matrix rounded = random.matrix(tokens, in);
        std::vector<std::uint16_t> bits(in);
        for (std::int64_t t = 0; t < tokens; ++t) {
          convert(x.view().row(t), DType::f32, bits.data(), DType::bf16, in);
          convert(bits.data(), DType::bf16, rounded.view().row(t), DType::f32, in);
        }
        for (const DType type : {DType::bf16, DType::i8}) {
          const Weight weight = ops.random_weight(random, type, out, in);
          Matrix got(tokens, out), wanted(tokens, out);
          ops.reference->linear({.x = rounded.view(), .weight = &weight, .y = wanted.view()},
                                *ops.stream);
          ops.cpu->linear({.x = x.view(), .weight = &weight, .y = got.view()}, *ops.stream);
          expect_near(got, wanted, kTolerance,
                      fmt::format("{} x {} -> {}, {}", tokens, in, out, name(type)));
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(CpuLinear, PairsRoundTheActivations) {
  if (bf16_gemm_kernels() == nullptr) GTEST_SKIP() << "this processor has no AVX-512-BF16";
  expect_rounded_activations_only(MatmulMode::bf16_pairs);
}

TEST(CpuLinear, TilesRoundTheActivations) {
  if (tile_gemm_kernels() == nullptr) GTEST_SKIP() << "this processor has no AMX-BF16";
  expect_rounded_activations_only(MatmulMode::bf16_tiles);
}

// Activations far from zero: nothing overflows, and what should vanish does.
TEST(CpuLinear, ExtremeActivations) {
  for (const auto epilogue : {Epilogue::relu, Epilogue::gelu, Epilogue::gelu_tanh, Epilogue::silu,
                              Epilogue::gated_silu, Epilogue::gated_gelu_tanh}) {
    Pair ops;
    Matrix x(1, 1);
    const std::int64_t out = 8;
    const float values[out] = {-1e30f, -1000.0f, -100.0f, -20.0f, 0.0f, 20.0f, 1000.0f, 1e30f};
    const std::int64_t rows = is_gated(epilogue) ? 2 * out : out;
    Weight weight = ops.cpu->make_weight(DType::f32, rows, 1);
    ops.cpu->fill_rows(weight, 0, values, out, 1, *ops.stream);
    const float ones[out] = {1, 1, 1, 1, 1, 1, 1, 1};
    if (rows > out) ops.cpu->fill_rows(weight, out, ones, out, 1, *ops.stream);
    x.at(0, 0) = 1.0f;
    Matrix got(1, out), wanted(1, out);
    LinearArgs args{.x = x.view(), .weight = &weight, .epilogue = epilogue, .y = wanted.view()};
    ops.reference->linear(args, *ops.stream);
    args.y = got.view();
    ops.cpu->linear(args, *ops.stream);
    expect_near(got, wanted, 2e-6, fmt::format("epilogue {}", static_cast<int>(epilogue)));
  }
}

// One result, whatever the number of threads: slices do not change the order of any sum.
TEST(CpuLinear, ThreadsDoNotChangeTheResult) {
  for (const std::int64_t tokens : {1, 6, 50}) {
    Pair one(1), three(3);
    Random random;
    Matrix x = random.matrix(tokens, 130);
    const Weight weight = one.random_weight(random, DType::bf16, 203, 130);
    Matrix a(tokens, 203), b(tokens, 203);
    one.cpu->linear({.x = x.view(), .weight = &weight, .y = a.view()}, *one.stream);
    three.cpu->linear({.x = x.view(), .weight = &weight, .y = b.view()}, *three.stream);
    expect_near(a, b, 0.0, "three threads");
  }
}

TEST(CpuLinear, RefusesShapesThatDoNotFit) {
  Pair ops;
  Random random;
  const Weight weight = ops.random_weight(random, DType::bf16, 6, 4);
  Matrix x(2, 4), narrow(2, 3), y(2, 6), short_y(1, 6), gated_y(2, 3);
  const Norm no_weight{};
  const LinearArgs good{.x = x.view(), .weight = &weight, .y = y.view()};
  EXPECT_NO_THROW(ops.cpu->linear(good, *ops.stream));
  struct Bad {
    const char* what;
    LinearArgs args;
  };
  std::vector<Bad> table;
  table.push_back({"too few inputs", good});
  table.back().args.x = narrow.view();
  table.push_back({"too few rows of y", good});
  table.back().args.y = short_y.view();
  table.push_back({"y not halved where gated", good});
  table.back().args.epilogue = Epilogue::gated_silu;
  table.push_back({"y halved where not gated", good});
  table.back().args.y = gated_y.view();
  table.push_back({"a norm without weight", good});
  table.back().args.norm = &no_weight;
  table.push_back({"addends of too few rows", good});
  table.back().args.plus = {short_y.view(), short_y.view()};
  table.push_back({"addends and accumulation", good});
  table.back().args.plus = {y.view(), y.view()};
  table.back().args.accumulate = true;
  table.push_back({"no weight", good});
  table.back().args.weight = nullptr;
  for (const Bad& bad : table) {
    for (Operators* implementation : {ops.cpu.get(), ops.reference.get()}) {
      try {
        implementation->linear(bad.args, *ops.stream);
        ADD_FAILURE() << bad.what << " was accepted";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::internal) << bad.what;
      }
    }
  }
}

TEST(CpuLinear, WeightRowsArePaddedWithZeros) {
  Pair ops;
  Weight weight = ops.cpu->make_weight(DType::bf16, 3, 5);
  EXPECT_EQ(weight.stride % 32, 0);
  const std::vector<std::uint16_t> host = {1, 2, 3, 4, 5, 99, 6, 7, 8, 9, 10, 99};
  ops.cpu->fill_rows(weight, 1, host.data(), 2, 6, *ops.stream);
  const auto* data = weight.storage.as<std::uint16_t>();
  for (std::int64_t r = 0; r < 3; ++r) {
    for (std::int64_t c = 0; c < weight.stride; ++c) {
      const int wanted = r > 0 && c < 5 ? static_cast<int>((r - 1) * 5 + c + 1) : 0;
      EXPECT_EQ(data[r * weight.stride + c], wanted) << r << ", " << c;
    }
  }
  EXPECT_THROW(ops.cpu->fill_rows(weight, 2, host.data(), 2, 6, *ops.stream), Error);
}

}  // namespace
}  // namespace spd::test
