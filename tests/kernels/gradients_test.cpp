// Backward operators: products against sums in f64, the others against finite differences of the
// reference operators, which compute in f64.
#include "kernels/gradients.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "kernels/cpu/gemm.h"
#include "kernels/device/error.h"
#include "tests/kernels/gradient_checks.h"

namespace spd::test {
namespace {

TEST(Gradients, Products) {
  struct Case {
    std::int64_t tokens, in, out;
  };
  for (const int threads : kThreads) {
    for (const Case& s : {Case{1, 5, 3}, Case{33, 48, 57}, Case{70, 100, 130}}) {
      Pair ops(threads);
      const auto gradients = make_cpu_gradients({.threads = threads, .products = MatmulMode::f32});
      Random random;
      Weight weight = ops.random_weight(random, DType::f32, s.out, s.in);
      const auto* w = weight.storage.as<float>();
      Matrix x = random.matrix(s.tokens, s.in), dy = random.matrix(s.tokens, s.out);
      for (const bool accumulate : {false, true}) {
        Matrix dx = random.matrix(s.tokens, s.in), wanted = dx;
        for (std::int64_t t = 0; t < s.tokens; ++t) {
          for (std::int64_t i = 0; i < s.in; ++i) {
            double sum = accumulate ? dx.at(t, i) : 0.0;
            for (std::int64_t n = 0; n < s.out; ++n) sum += dy.at(t, n) * w[n * weight.stride + i];
            wanted.at(t, i) = static_cast<float>(sum);
          }
        }
        gradients->linear_input(dy.view(), weight, accumulate, dx.view(), *ops.stream);
        expect_near(dx, wanted, 1e-5, fmt::format("dx of {} tokens", s.tokens));
      }
      Matrix dw = random.matrix(s.out, s.in), wanted = dw;
      std::vector<float> dbias = random.vector(s.out);
      Matrix wanted_bias = as_row(dbias);
      for (std::int64_t n = 0; n < s.out; ++n) {
        for (std::int64_t t = 0; t < s.tokens; ++t) {
          for (std::int64_t i = 0; i < s.in; ++i) wanted.at(n, i) += dy.at(t, n) * x.at(t, i);
          wanted_bias.at(0, n) += dy.at(t, n);
        }
      }
      gradients->linear_weight(dy.view(), x.view(), dw.view(), *ops.stream);
      gradients->bias(dy.view(), dbias.data(), *ops.stream);
      expect_near(dw, wanted, 1e-5, fmt::format("dweight of {} tokens", s.tokens));
      Matrix got_bias = as_row(dbias);
      expect_near(got_bias, wanted_bias, 1e-5, "dbias");
    }
  }
}

void round_to_bf16(float* values, std::int64_t count) {
  std::vector<std::uint16_t> bits(count);
  convert(values, DType::f32, bits.data(), DType::bf16, count);
  convert(bits.data(), DType::bf16, values, DType::f32, count);
}

// Factors are rounded and nothing else is: the same as f32 products of rounded factors, but for the
// order of the sums. And what rounding does is as small as it must be: every factor moves by 2^-9
// of itself at most, in no common direction, so that a sum of n products of about the same size
// moves by some 2^-9 of sqrt(n) of them.
TEST(Gradients, Bf16Products) {
  if (!multiplies_bf16()) GTEST_SKIP() << "this processor has no AVX-512-BF16";
  struct Case {
    std::int64_t tokens, in, out;
  };
  for (const Case& s :
       {Case{1, 5, 3}, Case{3, 1, 1}, Case{33, 48, 57}, Case{70, 100, 130}, Case{512, 576, 200}}) {
    const std::string what = fmt::format("{} tokens, {} to {}", s.tokens, s.in, s.out);
    Pair ops;
    const auto exact = make_cpu_gradients({.threads = 1, .products = MatmulMode::f32});
    Random random;
    const Weight weight = ops.random_weight(random, DType::bf16, s.out, s.in);
    const Weight wide = ops.cpu->make_weight(DType::f32, s.out, s.in);
    convert(weight.storage.data(), DType::bf16, wide.storage.data(), DType::f32,
            s.out * weight.stride);
    Matrix x = random.matrix(s.tokens, s.in), dy = random.matrix(s.tokens, s.out);
    Matrix rounded_x = x, rounded_dy = dy;
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      round_to_bf16(rounded_x.view().row(t), s.in);
      round_to_bf16(rounded_dy.view().row(t), s.out);
    }
    for (const bool accumulate : {false, true}) {
      Matrix before = random.matrix(s.tokens, s.in), dw_before = random.matrix(s.out, s.in);
      Matrix wanted = before, close = before, dw_wanted = dw_before, dw_close = dw_before;
      exact->linear_input(rounded_dy.view(), wide, accumulate, wanted.view(), *ops.stream);
      exact->linear_input(dy.view(), wide, accumulate, close.view(), *ops.stream);
      exact->linear_weight(rounded_dy.view(), rounded_x.view(), dw_wanted.view(), *ops.stream);
      exact->linear_weight(dy.view(), x.view(), dw_close.view(), *ops.stream);
      Matrix first, dw_first;
      for (const int threads : kThreads) {
        const auto gradients = make_cpu_gradients({.threads = threads});
        ASSERT_EQ(gradients->operand_type(), DType::bf16);
        Matrix dx = before, dw = dw_before;
        gradients->linear_input(dy.view(), weight, accumulate, dx.view(), *ops.stream);
        gradients->linear_weight(dy.view(), x.view(), dw.view(), *ops.stream);
        expect_near(dx, wanted, 2e-5, "dx of rounded factors, " + what);
        expect_near(dw, dw_wanted, 2e-5, "dweight of rounded factors, " + what);
        // Terms of dx are below 1 / sqrt(in), those of dweight below 1; six deviations and more.
        const auto spread = [](std::int64_t terms) {
          return 0x1p-9 * 3.0 * std::sqrt(static_cast<double>(terms));
        };
        expect_near(dx, close, spread(s.out) / std::sqrt(s.in), "dx, " + what);
        expect_near(dw, dw_close, spread(s.tokens), "dweight, " + what);
        if (threads == kThreads[0]) {
          first = dx;
          dw_first = dw;
        }
        expect_near(dx, first, 0.0, "dx on more threads, " + what);
        expect_near(dw, dw_first, 0.0, "dweight on more threads, " + what);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Gradients, Norms) {
  for (const int threads : kThreads) {
    for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
      for (const std::int64_t cols : {1, 7, 33}) {
        Pair ops(threads);
        const auto gradients =
            make_cpu_gradients({.threads = threads, .products = MatmulMode::f32});
        Random random;
        Matrix x = random.matrix(5, cols, -1.0f, 2.0f), direction = random.matrix(5, cols);
        std::vector<float> weight = random.vector(cols, 0.5f, 1.5f), bias = random.vector(cols);
        // A large epsilon keeps one lone feature's slope smooth enough for finite differences.
        const Norm norm{kind, weight.data(), bias.data(), 0.1f};
        Matrix y(5, cols);
        const auto loss = [&] {
          ops.reference->norm(x.view(), norm, y.view(), *ops.stream);
          return inner_product(y, direction);
        };
        Matrix wanted = slopes(x, loss), wanted_weight = slopes(weight, loss);
        Matrix wanted_bias = slopes(bias, loss);
        std::vector<float> dweight(cols), dbias(cols);
        Matrix dx = direction;  // in place
        gradients->norm({.x = x.view(),
                         .norm = norm,
                         .dy = dx.view(),
                         .dx = dx.view(),
                         .accumulate = false,
                         .dweight = dweight.data(),
                         .dbias = kind == NormKind::layer ? dbias.data() : nullptr},
                        *ops.stream);
        const std::string what = fmt::format("{} features, {} threads", cols, threads);
        expect_near(dx, wanted, 2e-3, "dx of " + what);
        Matrix got = as_row(dweight), got_bias = as_row(dbias);
        expect_near(got, wanted_weight, 2e-3, "dweight of " + what);
        if (kind == NormKind::layer) expect_near(got_bias, wanted_bias, 2e-3, "dbias of " + what);

        Matrix twice = dx, doubled(5, cols);
        gradients->norm({.x = x.view(),
                         .norm = norm,
                         .dy = direction.view(),
                         .dx = twice.view(),
                         .accumulate = true},
                        *ops.stream);
        ops.reference->sum(dx.view(), dx.view(), nullptr, doubled.view(), *ops.stream);
        expect_near(twice, doubled, 1e-6, "accumulated dx of " + what);
      }
    }
  }
}

TEST(Gradients, Activations) {
  for (const Epilogue epilogue :
       {Epilogue::none, Epilogue::relu, Epilogue::gelu, Epilogue::gelu_tanh, Epilogue::silu,
        Epilogue::gated_silu, Epilogue::gated_gelu_tanh}) {
    for (const int threads : kThreads) {
      Pair ops(threads);
      const auto gradients = make_cpu_gradients({.threads = threads, .products = MatmulMode::f32});
      Random random;
      constexpr std::int64_t kCols = 37;
      const std::int64_t wide = is_gated(epilogue) ? 2 * kCols : kCols;
      // The reference knows activations as a product's epilogue: here with the identity.
      Weight identity = ops.cpu->make_weight(DType::f32, wide, wide);
      for (std::int64_t i = 0; i < wide; ++i) {
        identity.storage.as<float>()[i * identity.stride + i] = 1.0f;
      }
      Matrix pre = random.matrix(4, wide, -4.0f, 4.0f), direction = random.matrix(4, kCols);
      // Away from the kink of relu, and where a far negative argument must not overflow.
      for (std::int64_t c = 0; c < wide; ++c) {
        if (std::abs(pre.at(0, c)) < 0.01f) pre.at(0, c) = 0.5f;
      }
      pre.at(1, 3) = -150.0f;
      pre.at(1, 4) = 80.0f;
      for (std::int64_t r = 1; r < 4; ++r) {
        for (std::int64_t c = 0; c < wide; ++c) {
          if (std::abs(pre.at(r, c)) < 0.01f) pre.at(r, c) = 0.5f;
        }
      }
      Matrix y(4, kCols), got(4, kCols);
      const auto loss = [&] {
        ops.reference->linear({.x = pre.view(),
                               .norm = nullptr,
                               .weight = &identity,
                               .bias = nullptr,
                               .epilogue = epilogue,
                               .accumulate = false,
                               .y = y.view()},
                              *ops.stream);
        return inner_product(y, direction);
      };
      Matrix wanted = slopes(pre, loss);
      loss();
      const std::string what = fmt::format("epilogue {}", static_cast<int>(epilogue));
      gradients->activate(epilogue, pre.view(), got.view(), *ops.stream);
      expect_near(got, y, 1e-5, what);
      gradients->activation(epilogue, pre.view(), direction.view(), pre.view(), *ops.stream);
      expect_near(pre, wanted, 2e-3, "slope of " + what);
    }
  }
}

TEST(Gradients, Losses) {
  Pair ops;
  const auto gradients = make_cpu_gradients({.threads = 2, .products = MatmulMode::f32});
  Random random;
  Matrix a = random.matrix(5, 37), b = random.matrix(5, 37), diff(5, 37), wanted(5, 37);
  const std::vector<float> of_row = random.vector(5, 0.5f, 2.0f);
  for (const bool damped : {false, true}) {
    for (const float* weight : {static_cast<const float*>(nullptr), of_row.data()}) {
      double loss = 0.0;
      for (std::int64_t r = 0; r < 5; ++r) {
        const double w = weight ? weight[r] : 1.0;
        double error = 0.0;
        for (std::int64_t c = 0; c < 37; ++c) {
          const double difference = static_cast<double>(a.at(r, c)) - b.at(r, c);
          error += w * difference * difference;
          wanted.at(r, c) = static_cast<float>(0.5 * w * difference);
        }
        loss += damped ? std::log1p(error) : error;
        for (std::int64_t c = 0; c < 37 && damped; ++c) {
          wanted.at(r, c) = static_cast<float>(wanted.at(r, c) / (1.0 + error));
        }
      }
      const DifferenceArgs args{.a = a.view(),
                                .b = b.view(),
                                .weight = weight,
                                .damped = damped,
                                .scale = 0.5f,
                                .diff = diff.view()};
      EXPECT_NEAR(gradients->difference(args, *ops.stream), loss, 1e-5 * loss);
      expect_near(diff, wanted, 1e-6, "difference");
    }
  }

  // Of whole distributions over 37 tokens: the gradient by finite differences of the divergence.
  const auto log_sum_exp = [](Matrix& logits, std::int64_t row) {
    double sum = 0.0;
    for (std::int64_t c = 0; c < 37; ++c) sum += std::exp(static_cast<double>(logits.at(row, c)));
    return std::log(sum);
  };
  const auto loss = [&] {
    double sum = 0.0;
    for (std::int64_t r = 0; r < 5; ++r) {
      const double p_total = log_sum_exp(a, r), q_total = log_sum_exp(b, r);
      for (std::int64_t c = 0; c < 37; ++c) {
        const double log_p = a.at(r, c) - p_total;
        sum += std::exp(log_p) * (log_p - (b.at(r, c) - q_total));
      }
    }
    return sum;
  };
  Matrix slope_of_b = slopes(b, loss);
  std::vector<double> p_total, q_total;
  for (std::int64_t r = 0; r < 5; ++r) {
    p_total.push_back(log_sum_exp(a, r));
    q_total.push_back(log_sum_exp(b, r));
  }
  const double got = gradients->divergence({.teacher = a.view(),
                                            .student = b.view(),
                                            .teacher_log_sum_exp = p_total.data(),
                                            .student_log_sum_exp = q_total.data(),
                                            .scale = 1.0f,
                                            .dstudent = diff.view()},
                                           *ops.stream);
  EXPECT_NEAR(got, loss(), 1e-5);
  expect_near(diff, slope_of_b, 1e-3, "slope of the divergence");
}

TEST(Gradients, Adam) {
  // Three steps against the formulas of the paper in f64, 37 parameters.
  Pair ops;
  const auto gradients = make_cpu_gradients({.threads = 2, .products = MatmulMode::f32});
  Random random;
  std::vector<float> weight = random.vector(37), mean(37), square(37);
  std::vector<std::uint16_t> rounded(37), expected(37);
  std::vector<double> w(weight.begin(), weight.end()), m(37), v(37);
  for (int step = 1; step <= 3; ++step) {
    std::vector<float> gradient = random.vector(37);
    for (std::size_t i = 0; i < 37; ++i) {
      const double g = 0.5 * gradient[i];
      m[i] = 0.8 * m[i] + 0.2 * g;
      v[i] = 0.9 * v[i] + 0.1 * g * g;
      const double mean_now = m[i] / (1.0 - std::pow(0.8, step));
      const double square_now = v[i] / (1.0 - std::pow(0.9, step));
      w[i] = w[i] * (1.0 - 0.01 * 0.1) - 0.01 * mean_now / (std::sqrt(square_now) + 1e-6);
    }
    gradients->adam({.weight = weight.data(),
                     .gradient = gradient.data(),
                     .mean = mean.data(),
                     .square = square.data(),
                     .rounded = rounded.data(),
                     .count = 37,
                     .rate = 0.01f,
                     .beta1 = 0.8f,
                     .beta2 = 0.9f,
                     .epsilon = 1e-6f,
                     .decay = 0.1f,
                     .gradient_scale = 0.5f,
                     .step = step},
                    *ops.stream);
    for (std::size_t i = 0; i < 37; ++i) {
      EXPECT_NEAR(weight[i], w[i], 1e-6) << "step " << step << ", parameter " << i;
      EXPECT_EQ(gradient[i], 0.0f);
    }
    convert(weight.data(), DType::f32, expected.data(), DType::bf16, 37);
    EXPECT_EQ(rounded, expected);
  }
  EXPECT_NEAR(gradients->sum_of_squares(weight.data(), 37, *ops.stream),
              std::inner_product(w.begin(), w.end(), w.begin(), 0.0), 1e-5);
}

TEST(Gradients, RefusesShapesThatDoNotFit) {
  Pair ops;
  const auto gradients = make_cpu_gradients({.threads = 1, .products = MatmulMode::f32});
  Matrix a(3, 4), b(3, 5);
  const Weight weight = ops.cpu->make_weight(DType::f32, 5, 3);
  EXPECT_THROW(gradients->activate(Epilogue::gated_silu, a.view(), b.view(), *ops.stream), Error);
  EXPECT_THROW(gradients->linear_input(b.view(), weight, false, a.view(), *ops.stream), Error);
  EXPECT_THROW(gradients->linear_weight(a.view(), b.view(), a.view(), *ops.stream), Error);
  const DifferenceArgs args{.a = a.view(),
                            .b = b.view(),
                            .weight = nullptr,
                            .damped = false,
                            .scale = 1.0f,
                            .diff = a.view()};
  EXPECT_THROW(gradients->difference(args, *ops.stream), Error);
}

}  // namespace
}  // namespace spd::test
