// Backward operators: GPU against the CPU's, which are tested against finite differences.
#include "kernels/cuda/cuda_gradients.h"

#include <fmt/format.h>

#include <numeric>

#include "tests/kernels/cuda/cuda_fixture.h"

namespace spd::test {
namespace {

using CudaGradients = CudaTest;

struct Both : Gpu {
  explicit Both(DType operands = DType::f32)
      : gpu(cuda::make_cuda_gradients(device, operands)),
        cpu(make_cpu_gradients({.threads = 1, .cores = {}, .products = MatmulMode::f32})) {}
  std::unique_ptr<Gradients> gpu, cpu;
};

Matrix as_row(const std::vector<float>& values) {
  Matrix row(1, static_cast<std::int64_t>(values.size()));
  std::copy(values.begin(), values.end(), row.view().data);
  return row;
}

void expect_same(Both& both, const Buffer& got, const std::vector<float>& wanted, double tolerance,
                 const std::string& what) {
  Matrix a = as_row(both.values<float>(got, wanted.size())), b = as_row(wanted);
  expect_near(a, b, tolerance, what);
}

TEST_F(CudaGradients, Products) {
  for (const DType type : {DType::f32, DType::bf16}) {
    Both both(type);
    EXPECT_EQ(both.gpu->operand_type(), type);
    struct Case {
      std::int64_t tokens, in, out;
    };
    for (const Case& s : {Case{1, 5, 3}, Case{33, 48, 57}, Case{70, 100, 130}}) {
      Random random;
      // Factors that bf16 holds, so that rounding them changes nothing.
      const auto exact = [&](std::int64_t rows, std::int64_t cols) {
        Matrix made = random.matrix(rows, cols);
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < cols; ++c) {
            made.at(r, c) = bf16_to_f32(f32_to_bf16(made.at(r, c)));
          }
        }
        return made;
      };
      const auto weight = both.random_weight(random, type, s.out, s.in);
      Weight wide = both.reference->make_weight(DType::f32, s.out, s.in);
      convert(weight.host.storage.data(), type, wide.storage.data(), DType::f32,
              s.out * weight.host.stride);
      Matrix x = exact(s.tokens, s.in), dy = exact(s.tokens, s.out);
      GpuMatrix gpu_x(both, x), gpu_dy(both, dy);
      for (const bool accumulate : {false, true}) {
        Matrix dx = random.matrix(s.tokens, s.in);
        GpuMatrix gpu_dx(both, dx);
        both.gpu->linear_input(gpu_dy.view(), weight.gpu, accumulate, gpu_dx.view(), *both.stream);
        both.cpu->linear_input(dy.view(), wide, accumulate, dx.view(), *both.host_stream);
        expect_near(gpu_dx.back(), dx, 1e-5, fmt::format("dx of {} tokens", s.tokens));
      }
      Matrix dw = random.matrix(s.out, s.in);
      GpuMatrix gpu_dw(both, dw);
      both.gpu->linear_weight(gpu_dy.view(), gpu_x.view(), gpu_dw.view(), *both.stream);
      both.cpu->linear_weight(dy.view(), x.view(), dw.view(), *both.host_stream);
      expect_near(gpu_dw.back(), dw, 1e-5, fmt::format("dweight of {} tokens", s.tokens));
      std::vector<float> dbias = random.vector(s.out);
      const Buffer gpu_dbias = both.buffer(dbias);
      both.gpu->bias(gpu_dy.view(), gpu_dbias.as<float>(), *both.stream);
      both.cpu->bias(dy.view(), dbias.data(), *both.host_stream);
      expect_same(both, gpu_dbias, dbias, 1e-5, "dbias");
    }
  }
}

TEST_F(CudaGradients, Norms) {
  Both both;
  for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
    for (const std::int64_t cols : {1, 7, 33, 300}) {
      for (const bool accumulate : {false, true}) {
        Random random;
        Matrix x = random.matrix(5, cols, -1.0f, 2.0f), dy = random.matrix(5, cols);
        Matrix dx = accumulate ? random.matrix(5, cols) : dy;
        const std::vector<float> weight = random.vector(cols, 0.5f, 1.5f), bias(cols);
        std::vector<float> dweight = random.vector(cols), dbias = random.vector(cols);
        const Buffer gpu_weight = both.buffer(weight), gpu_bias = both.buffer(bias);
        const Buffer gpu_dweight = both.buffer(dweight), gpu_dbias = both.buffer(dbias);
        GpuMatrix gpu_x(both, x), gpu_dy(both, dy), gpu_dx(both, dx);
        both.gpu->norm({.x = gpu_x.view(),
                        .norm = {kind, gpu_weight.as<float>(), gpu_bias.as<float>(), 0.1f},
                        .dy = accumulate ? gpu_dy.view() : gpu_dx.view(),  // in place
                        .dx = gpu_dx.view(),
                        .accumulate = accumulate,
                        .dweight = gpu_dweight.as<float>(),
                        .dbias = gpu_dbias.as<float>()},
                       *both.stream);
        both.cpu->norm({.x = x.view(),
                        .norm = {kind, weight.data(), bias.data(), 0.1f},
                        .dy = accumulate ? dy.view() : dx.view(),
                        .dx = dx.view(),
                        .accumulate = accumulate,
                        .dweight = dweight.data(),
                        .dbias = dbias.data()},
                       *both.host_stream);
        const std::string what = fmt::format("{} features", cols);
        expect_near(gpu_dx.back(), dx, 1e-5, "dx of " + what);
        expect_same(both, gpu_dweight, dweight, 1e-5, "dweight of " + what);
        expect_same(both, gpu_dbias, dbias, 1e-5, "dbias of " + what);
      }
    }
  }
}

TEST_F(CudaGradients, Activations) {
  Both both;
  for (const Epilogue epilogue :
       {Epilogue::none, Epilogue::relu, Epilogue::gelu, Epilogue::gelu_tanh, Epilogue::silu,
        Epilogue::gated_silu, Epilogue::gated_gelu_tanh}) {
    Random random;
    constexpr std::int64_t kCols = 37;
    const std::int64_t wide = is_gated(epilogue) ? 2 * kCols : kCols;
    Matrix pre = random.matrix(4, wide, -6.0f, 6.0f), dy = random.matrix(4, kCols), y(4, kCols);
    pre.at(1, 3) = -150.0f;  // neither overflows
    pre.at(1, 4) = 80.0f;
    pre.at(2, 4) = 1e10f;
    pre.at(2, 5) = -1e10f;
    GpuMatrix gpu_pre(both, pre), gpu_dy(both, dy), gpu_y(both, y);
    const std::string what = fmt::format("epilogue {}", static_cast<int>(epilogue));
    both.gpu->activate(epilogue, gpu_pre.view(), gpu_y.view(), *both.stream);
    both.cpu->activate(epilogue, pre.view(), y.view(), *both.host_stream);
    expect_near(gpu_y.back(), y, 1e-5, what);
    both.gpu->activation(epilogue, gpu_pre.view(), gpu_dy.view(), gpu_pre.view(), *both.stream);
    both.cpu->activation(epilogue, pre.view(), dy.view(), pre.view(), *both.host_stream);
    expect_near(gpu_pre.back(), pre, 2e-5, "slope of " + what);
  }
}

struct AttentionShape {
  std::int64_t q_heads, kv_heads, head_dim, window;
  bool norms;
};

void check_attention(Both& both, const AttentionShape& s) {
  constexpr std::int64_t kCapacity = 80, kSlots = 2;
  Random random;
  std::vector<Segment> segments = {{0, 3, 1, 0}, {3, 70, 0, 0}};
  if (checked()) segments = {{0, 3, 1, 0}, {3, 40, 0, 0}};
  const std::int64_t tokens = segments[1].row + segments[1].length;
  std::vector<std::int32_t> map;
  for (std::int64_t h = 0; h < s.q_heads; ++h) {
    map.push_back(static_cast<std::int32_t>(h * s.kv_heads / s.q_heads));
  }
  std::vector<float> keys = random.vector(kSlots * s.kv_heads * kCapacity * s.head_dim);
  std::vector<float> values = random.vector(std::ssize(keys));
  const KvLayer cache{keys.data(), values.data(), DType::f32, kSlots,
                      s.kv_heads,  kCapacity,     s.head_dim};
  const Buffer gpu_keys = both.buffer(keys), gpu_values = both.buffer(values);
  KvLayer gpu_cache = cache;
  gpu_cache.keys = gpu_keys.data();
  gpu_cache.values = gpu_values.data();
  const std::int64_t q_cols = s.q_heads * s.head_dim,
                     all_cols = q_cols + 2 * s.kv_heads * s.head_dim;
  Matrix q = random.matrix(tokens, q_cols), out(tokens, q_cols);
  Matrix dout = random.matrix(tokens, q_cols), dqkv(tokens, all_cols);
  both.reference->attention({.q = q.view(),
                             .segments = segments,
                             .kv_head_of = map,
                             .scale = 0.3f,
                             .window = s.window,
                             .cache = cache,
                             .out = out.view()},
                            *both.host_stream);
  GpuMatrix gpu_q(both, q), gpu_out(both, out), gpu_dout(both, dout), gpu_dqkv(both, dqkv);
  AttentionGradientArgs args{.q = q.view(),
                             .segments = segments,
                             .kv_head_of = map,
                             .scale = 0.3f,
                             .window = s.window,
                             .cache = cache,
                             .out = out.view(),
                             .dout = dout.view(),
                             .dqkv = dqkv.view()};
  both.cpu->attention(args, *both.host_stream);
  args.q = gpu_q.view();
  args.cache = gpu_cache;
  args.out = gpu_out.view();
  args.dout = gpu_dout.view();
  args.dqkv = gpu_dqkv.view();
  both.gpu->attention(args, *both.stream);
  const std::string what =
      fmt::format("{} and {} heads of {}, window {}", s.q_heads, s.kv_heads, s.head_dim, s.window);
  expect_near(gpu_dqkv.back(), dqkv, 5e-5, "dqkv of " + what);

  RopeTable rope{Buffer(both.host, kCapacity * s.head_dim * 4), kCapacity, s.head_dim / 2 * 2};
  const std::vector<float> angles = random.vector(kCapacity * rope.rotary_dim);
  std::copy(angles.begin(), angles.end(), rope.cos_sin.as<float>());
  const RopeTable gpu_rope{both.buffer(angles), kCapacity, rope.rotary_dim};
  Matrix qkv = random.matrix(tokens, all_cols);
  GpuMatrix gpu_qkv(both, qkv);
  const std::vector<float> gain = random.vector(s.head_dim, 0.5f, 1.5f);
  const Buffer gpu_gain = both.buffer(gain);
  const Norm norm{NormKind::rms, gain.data(), nullptr, 0.1f};
  const Norm gpu_norm{NormKind::rms, gpu_gain.as<float>(), nullptr, 0.1f};
  std::vector<float> dq_norm = random.vector(s.head_dim), dk_norm = random.vector(s.head_dim);
  const Buffer gpu_dq = both.buffer(dq_norm), gpu_dk = both.buffer(dk_norm);
  StoreKvGradientArgs back{.dqkv = dqkv.view(),
                           .qkv = qkv.view(),
                           .q_heads = s.q_heads,
                           .kv_heads = s.kv_heads,
                           .head_dim = s.head_dim,
                           .q_norm = s.norms ? &norm : nullptr,
                           .k_norm = s.norms ? &norm : nullptr,
                           .dq_norm = dq_norm.data(),
                           .dk_norm = dk_norm.data(),
                           .rope = &rope,
                           .segments = segments};
  both.cpu->store_kv(back, *both.host_stream);
  back.dqkv = gpu_dqkv.view();
  back.qkv = gpu_qkv.view();
  back.q_norm = back.k_norm = s.norms ? &gpu_norm : nullptr;
  back.dq_norm = gpu_dq.as<float>();
  back.dk_norm = gpu_dk.as<float>();
  back.rope = &gpu_rope;
  both.gpu->store_kv(back, *both.stream);
  expect_near(gpu_dqkv.back(), dqkv, 1e-4, "turned back, " + what);
  // Sums over all tokens and heads.
  expect_same(both, gpu_dq, dq_norm, 5e-4, "dq_norm, " + what);
  expect_same(both, gpu_dk, dk_norm, 5e-4, "dk_norm, " + what);
}

TEST_F(CudaGradients, Attention) {
  Both both;
  for (const AttentionShape& s :
       {AttentionShape{1, 1, 6, 0, false}, AttentionShape{4, 2, 64, 0, true},
        AttentionShape{3, 1, 7, 20, false}, AttentionShape{2, 2, 80, 0, true}}) {
    check_attention(both, s);
    if (HasFatalFailure()) return;
  }
}

TEST_F(CudaGradients, Losses) {
  Both both;
  for (const std::int64_t cols : {1, 37, 1000}) {
    Random random;
    Matrix a = random.matrix(5, cols), b = random.matrix(5, cols), diff(5, cols);
    const std::vector<float> of_row = random.vector(5, 0.5f, 2.0f);
    const Buffer gpu_of_row = both.buffer(of_row);
    GpuMatrix gpu_a(both, a), gpu_b(both, b), gpu_diff(both, diff);
    for (const bool damped : {false, true}) {
      for (const bool weighted : {false, true}) {
        const double wanted = both.cpu->difference(
            {a.view(), b.view(), weighted ? of_row.data() : nullptr, damped, 0.7f, diff.view()},
            *both.host_stream);
        const double got = both.gpu->difference(
            {gpu_a.view(), gpu_b.view(), weighted ? gpu_of_row.as<float>() : nullptr, damped, 0.7f,
             gpu_diff.view()},
            *both.stream);
        EXPECT_NEAR(got, wanted, 1e-6 * wanted);
        expect_near(gpu_diff.back(), diff, 1e-6, "difference");
      }
    }
    std::vector<double> totals;
    for (Matrix* logits : {&a, &b}) {
      for (const LogSumExp& row : both.reference->log_sum_exp(logits->view(), *both.host_stream)) {
        totals.push_back(row.max + std::log(static_cast<double>(row.sum)));
      }
    }
    const double wanted = both.cpu->divergence(
        {a.view(), b.view(), totals.data(), totals.data() + 5, 0.3f, diff.view()},
        *both.host_stream);
    const double got = both.gpu->divergence(
        {gpu_a.view(), gpu_b.view(), totals.data(), totals.data() + 5, 0.3f, gpu_diff.view()},
        *both.stream);
    EXPECT_NEAR(got, wanted, 1e-5);
    expect_near(gpu_diff.back(), diff, 1e-6, "divergence");
  }
}

TEST_F(CudaGradients, SumsOfSquaresAndAdam) {
  Both both;
  for (const std::int64_t count : {0, 1, 300, 40000}) {
    if (checked() && count > 300) continue;
    Random random;
    std::vector<float> weight = random.vector(count), gradient = random.vector(count),
                       mean = random.vector(count), square = random.vector(count, 0.0f, 1.0f);
    std::vector<std::uint16_t> rounded(count);
    const Buffer gpu_weight = both.buffer(weight), gpu_gradient = both.buffer(gradient),
                 gpu_mean = both.buffer(mean), gpu_square = both.buffer(square),
                 gpu_rounded = both.buffer(rounded);
    const double wanted = both.cpu->sum_of_squares(gradient.data(), count, *both.host_stream);
    EXPECT_NEAR(both.gpu->sum_of_squares(gpu_gradient.as<float>(), count, *both.stream), wanted,
                1e-6 * wanted);
    AdamArgs args{.weight = weight.data(),
                  .gradient = gradient.data(),
                  .mean = mean.data(),
                  .square = square.data(),
                  .rounded = rounded.data(),
                  .count = count,
                  .rate = 0.01f,
                  .decay = 0.1f,
                  .gradient_scale = 0.5f,
                  .step = 3};
    both.cpu->adam(args, *both.host_stream);
    args.weight = gpu_weight.as<float>();
    args.gradient = gpu_gradient.as<float>();
    args.mean = gpu_mean.as<float>();
    args.square = gpu_square.as<float>();
    args.rounded = gpu_rounded.as<std::uint16_t>();
    both.gpu->adam(args, *both.stream);
    expect_same(both, gpu_weight, weight, 1e-6, "weights");
    expect_same(both, gpu_gradient, gradient, 0.0, "gradients");
    expect_same(both, gpu_mean, mean, 1e-6, "means");
    expect_same(both, gpu_square, square, 1e-6, "squares");
    const auto new_weight = both.values<float>(gpu_weight, count);
    const auto new_rounded = both.values<std::uint16_t>(gpu_rounded, count);
    for (std::int64_t i = 0; i < count; ++i) EXPECT_EQ(new_rounded[i], f32_to_bf16(new_weight[i]));
  }
}

// Products fetch their first weights before the kernel ahead of them is done: not those that it
// makes.
TEST_F(CudaGradients, AProductAfterAStepReadsTheNewWeights) {
  Both both;
  Random random;
  Weight weight = both.operators->make_weight(DType::f32, 6, 32);
  const std::vector<float> values = random.vector(6 * 32);
  both.operators->fill_rows(weight, 0, values.data(), 6, 32, *both.stream);
  Buffer gradient = both.buffer(random.vector(6 * 32)), mean(both.device, 6 * 32 * 4),
         square(both.device, 6 * 32 * 4);
  Matrix x = random.matrix(1, 32), y(1, 6);
  GpuMatrix gpu_x(both, x), gpu_y(both, y);
  both.stream->synchronize();
  both.gpu->adam({.weight = weight.storage.as<float>(),
                  .gradient = gradient.as<float>(),
                  .mean = mean.as<float>(),
                  .square = square.as<float>(),
                  .count = 6 * 32,
                  .rate = 0.1f},
                 *both.stream);
  both.operators->linear({.x = gpu_x.view(), .weight = &weight, .y = gpu_y.view()}, *both.stream);
  const auto stepped = both.values<float>(weight.storage, 6 * 32);
  EXPECT_NE(stepped, values);
  Weight host = both.reference->make_weight(DType::f32, 6, 32);
  both.reference->fill_rows(host, 0, stepped.data(), 6, 32, *both.host_stream);
  both.reference->linear({.x = x.view(), .weight = &host, .y = y.view()}, *both.host_stream);
  expect_near(gpu_y.back(), y, 1e-5, "a product after a step");
}

}  // namespace
}  // namespace spd::test
