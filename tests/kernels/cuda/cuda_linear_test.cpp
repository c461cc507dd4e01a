// linear: GPU against reference, by streaming products and by cuBLASLt.
#include <fmt/format.h>

#include <optional>

#include "kernels/cuda/gemv.h"
#include "tests/kernels/cuda/cuda_fixture.h"

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

std::string describe(const Case& c) {
  return fmt::format(
      "{} x {} -> {}, {}, epilogue {}, norm {}, bias {}, accumulate {}, side {}, addends {}",
      c.tokens, c.in, c.out, name(c.type), static_cast<int>(c.epilogue),
      c.norm ? static_cast<int>(*c.norm) : -1, c.bias, c.accumulate, c.side, c.addends);
}

// As the CPU's: f32 sums of at most a few thousand terms of at most 1 / sqrt(terms) each, and a few
// units in the last place by activations.
constexpr double kTolerance = 2e-5;
// Of a value that was within an f32 rounding of a tie, the other neighbour may be multiplied: one
// unit of bf16, of one term.
constexpr double kRoundedTolerance = 2e-3;

/// x as a product of many tokens takes it: normed, then rounded to what the weight is multiplied
/// as.
Matrix as_multiplied(Gpu& gpu, Matrix& x, const Norm* norm, DType weight) {
  Matrix taken = x;
  if (norm) gpu.reference->norm(x.view(), *norm, taken.view(), *gpu.host_stream);
  const DType type = weight == DType::i8 ? DType::bf16 : weight;
  std::vector<std::byte> rounded(x.view().cols * size_of(type));
  for (std::int64_t t = 0; t < x.view().rows; ++t) {
    convert(taken.view().row(t), DType::f32, rounded.data(), type, x.view().cols);
    convert(rounded.data(), type, taken.view().row(t), DType::f32, x.view().cols);
  }
  return taken;
}

void compare(Gpu& gpu, const Case& c) {
  Random random(static_cast<unsigned>(c.tokens * 31 + c.in * 7 + c.out));
  Matrix x = random.matrix(c.tokens, c.in, -2.0f, 2.0f);
  const std::int64_t weight_rows = is_gated(c.epilogue) ? 2 * c.out : c.out;
  const auto weight = gpu.random_weight(random, c.type, weight_rows, c.in);
  const DType side_type = c.side_type.value_or(c.type);
  const auto side = gpu.random_weight(random, side_type, c.side, c.in);
  const std::vector<float> bias = random.vector(weight_rows);
  const std::vector<float> norm_weight = random.vector(c.in, 0.5f, 1.5f);
  const std::vector<float> norm_bias = random.vector(c.in);
  const Norm norm{.kind = c.norm.value_or(NormKind::rms),
                  .weight = norm_weight.data(),
                  .bias = norm_bias.data()};
  const Buffer gpu_bias = gpu.buffer(bias), gpu_norm_weight = gpu.buffer(norm_weight),
               gpu_norm_bias = gpu.buffer(norm_bias);
  Norm gpu_norm = norm;
  gpu_norm.weight = gpu_norm_weight.as<float>();
  gpu_norm.bias = gpu_norm_bias.as<float>();
  Matrix y = random.matrix(c.tokens, c.out), side_y = random.matrix(c.tokens, c.side);
  Matrix a = random.matrix(c.tokens, c.out), b = random.matrix(c.tokens, c.out);
  GpuMatrix gpu_x(gpu, x), gpu_y(gpu, y), gpu_side(gpu, side_y), gpu_a(gpu, a), gpu_b(gpu, b);

  LinearArgs args{.x = gpu_x.view(),
                  .norm = c.norm ? &gpu_norm : nullptr,
                  .weight = &weight.gpu,
                  .bias = c.bias ? gpu_bias.as<float>() : nullptr,
                  .epilogue = c.epilogue,
                  .accumulate = c.accumulate,
                  .y = gpu_y.view()};
  if (c.addends) args.plus = {gpu_a.view(), gpu_b.view()};
  if (c.side > 0) args.side = {&side.gpu, c.accumulate, gpu_side.view()};
  gpu.operators->linear(args, *gpu.stream);

  const bool many = c.tokens > cuda::kGemvTokens;
  const auto wanted = [&](const Weight& w, Matrix& into, LinearArgs reference_args) {
    Matrix taken = many ? as_multiplied(gpu, x, c.norm ? &norm : nullptr, w.dtype) : x;
    reference_args.x = taken.view();
    reference_args.norm = !many && c.norm ? &norm : nullptr;
    reference_args.weight = &w;
    reference_args.accumulate = c.accumulate;
    reference_args.y = into.view();
    gpu.reference->linear(reference_args, *gpu.host_stream);
  };
  LinearArgs main;
  main.bias = c.bias ? bias.data() : nullptr;
  main.epilogue = c.epilogue;
  if (c.addends) main.plus = {a.view(), b.view()};
  wanted(weight.host, y, main);
  if (c.side > 0) wanted(side.host, side_y, {});
  const double tolerance = many && c.norm && c.type != DType::f32 ? kRoundedTolerance : kTolerance;
  expect_near(gpu_y.back(), y, tolerance, describe(c));
  expect_near(gpu_side.back(), side_y, tolerance, describe(c) + ", side product");
}

using CudaLinear = CudaTest;

TEST_F(CudaLinear, EveryShape) {
  Gpu gpu;
  for (const DType type : {DType::f32, DType::bf16, DType::f16, DType::i8}) {
    for (const std::int64_t tokens : {0, 1, 2, 3, 5, 8, 9, 13, 37}) {
      for (const auto& [in, out] : std::initializer_list<std::pair<int, int>>{
               {1, 1}, {7, 5}, {64, 192}, {65, 63}, {576, 33}, {100, 257}, {1536, 17}}) {
        if (checked() && tokens > 3 && tokens != 8 && tokens != 13) continue;
        compare(gpu, {.tokens = tokens, .in = in, .out = out, .type = type});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(CudaLinear, EveryEpilogueWithNormBiasAndAccumulation) {
  Gpu gpu;
  for (const std::int64_t tokens : {1, 4, 41}) {
    for (const auto epilogue : {Epilogue::none, Epilogue::relu, Epilogue::gelu, Epilogue::gelu_tanh,
                                Epilogue::silu, Epilogue::gated_silu, Epilogue::gated_gelu_tanh}) {
      for (const auto norm : {std::optional<NormKind>(), std::optional(NormKind::rms),
                              std::optional(NormKind::layer)}) {
        for (const bool bias : {false, true}) {
          for (const bool accumulate : {false, true}) {
            if (checked() && bias != accumulate) continue;
            compare(gpu, {tokens, 96, 75, DType::bf16, epilogue, norm, bias, accumulate});
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST_F(CudaLinear, SideProductsAndAddends) {
  Gpu gpu;
  for (const std::int64_t tokens : {1, 3, 8, 12}) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16, DType::i8}) {
      for (const std::int64_t side : {0, 1, 24, 131}) {
        for (const bool addends : {false, true}) {
          compare(gpu, {tokens, 70, 45, type, Epilogue::none, NormKind::rms, true, false, side,
                        addends});
          if (HasFatalFailure()) return;
        }
      }
    }
    compare(gpu, {tokens, 70, 45, DType::bf16, Epilogue::gated_silu, NormKind::rms, false, true, 24,
                  false});
    compare(gpu, {tokens, 70, 45, DType::bf16, Epilogue::none, NormKind::rms, false, false, 24,
                  false, DType::i8});
    if (HasFatalFailure()) return;
  }
}

// Gated weights of every type, in rows that no warp divides evenly.
TEST_F(CudaLinear, GatedOfEveryType) {
  Gpu gpu;
  for (const DType type : {DType::f32, DType::bf16, DType::f16, DType::i8}) {
    for (const std::int64_t tokens : {1, 2, 4, 8}) {
      for (const std::int64_t out : {1, 6, 27}) {
        compare(gpu, {tokens, 200, out, type, Epilogue::gated_silu, NormKind::rms, true});
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Columns that one, two and four warps share.
TEST_F(CudaLinear, LongRowsAreSharedByWarps) {
  Gpu gpu;
  for (const DType type : {DType::f32, DType::bf16, DType::i8}) {
    for (const std::int64_t in : {511, 1024, 4096, 5000}) {
      for (const std::int64_t tokens : {1, 5}) {
        compare(gpu, {tokens, in, 9, type, Epilogue::none, NormKind::rms});
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Activations far from zero: nothing overflows, and what should vanish does.
TEST_F(CudaLinear, ExtremeActivations) {
  Gpu gpu;
  for (const auto epilogue : {Epilogue::relu, Epilogue::gelu, Epilogue::gelu_tanh, Epilogue::silu,
                              Epilogue::gated_silu, Epilogue::gated_gelu_tanh}) {
    constexpr std::int64_t kOut = 8;
    const float values[kOut] = {-1e30f, -1000.0f, -100.0f, -20.0f, 0.0f, 20.0f, 1000.0f, 1e30f};
    const std::int64_t rows = is_gated(epilogue) ? 2 * kOut : kOut;
    const float ones[kOut] = {1, 1, 1, 1, 1, 1, 1, 1};
    Weight weight = gpu.operators->make_weight(DType::f32, rows, 1);
    Weight host = gpu.reference->make_weight(DType::f32, rows, 1);
    gpu.operators->fill_rows(weight, 0, values, kOut, 1, *gpu.stream);
    gpu.reference->fill_rows(host, 0, values, kOut, 1, *gpu.host_stream);
    if (rows > kOut) {
      gpu.operators->fill_rows(weight, kOut, ones, kOut, 1, *gpu.stream);
      gpu.reference->fill_rows(host, kOut, ones, kOut, 1, *gpu.host_stream);
    }
    Matrix x(1, 1), wanted(1, kOut);
    x.at(0, 0) = 1.0f;
    GpuMatrix gpu_x(gpu, x), got(gpu, wanted);
    gpu.operators->linear(
        {.x = gpu_x.view(), .weight = &weight, .epilogue = epilogue, .y = got.view()}, *gpu.stream);
    gpu.reference->linear(
        {.x = x.view(), .weight = &host, .epilogue = epilogue, .y = wanted.view()},
        *gpu.host_stream);
    expect_near(got.back(), wanted, 2e-6, fmt::format("epilogue {}", static_cast<int>(epilogue)));
  }
}

// The weight is read once, whatever the batch; x as often as the caches like.
TEST_F(CudaLinear, WeightsAreReadOnce) {
#if defined(SPD_CUDA_EMULATED)
  if (!checked()) GTEST_SKIP() << "accesses are not counted";
  Gpu gpu;
  for (const std::int64_t tokens : {1, 2, 4, 8}) {
    Random random;
    constexpr std::int64_t kIn = 512, kOut = 100;
    const auto weight = gpu.random_weight(random, DType::bf16, kOut, kIn);
    Matrix x = random.matrix(tokens, kIn), y(tokens, kOut);
    GpuMatrix gpu_x(gpu, x), gpu_y(gpu, y);
    gpu.stream->synchronize();
    cuda_emulation::take_statistics();
    gpu.operators->linear({.x = gpu_x.view(), .weight = &weight.gpu, .y = gpu_y.view()},
                          *gpu.stream);
    gpu.stream->synchronize();
    const auto gemv = cuda_emulation::take_statistics().at("gemv");
    EXPECT_EQ(gemv.launches, 1u);
    EXPECT_EQ(gemv.distinct_read, kOut * kIn * 2 + tokens * kIn * 4);
    EXPECT_EQ(gemv.distinct_written, tokens * kOut * 4);
  }
#else
  GTEST_SKIP() << "only the emulation counts bytes";
#endif
}

}  // namespace
}  // namespace spd::test
