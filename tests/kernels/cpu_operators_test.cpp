// The row-wise operators: CPU against reference.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "kernels/device/error.h"
#include "tests/kernels/operators_fixture.h"

namespace spd::test {
namespace {

struct Shape {
  std::int64_t rows, cols;
};
constexpr Shape kShapes[] = {{0, 8}, {1, 1}, {1, 7}, {3, 64}, {5, 577}, {2, 33}, {70, 640}};

std::string describe(const char* what, const Shape& s, int threads) {
  return fmt::format("{} [{}, {}], {} threads", what, s.rows, s.cols, threads);
}

TEST(CpuOperators, Norm) {
  for (const int threads : {1, 2}) {
    for (const Shape& s : kShapes) {
      for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
        for (const bool bias : {false, true}) {
          Pair ops(threads);
          Random random;
          // Far from zero mean: a variance taken as a difference of large numbers would show.
          Matrix x = random.matrix(s.rows, s.cols, 9.0f, 11.0f);
          const std::vector<float> weight = random.vector(s.cols), added = random.vector(s.cols);
          const Norm norm{kind, weight.data(), bias ? added.data() : nullptr, 1e-5f};
          Matrix got = x, wanted(s.rows, s.cols);
          ops.reference->norm(x.view(), norm, wanted.view(), *ops.stream);
          ops.cpu->norm(got.view(), norm, got.view(), *ops.stream);  // in place
          // The mean of numbers near 10 is known to about 1e-6, deviations are of the order of 1.
          expect_near(got, wanted, 1e-5, describe("norm", s, threads));
        }
      }
    }
  }
}

TEST(CpuOperators, SumsAndCopies) {
  for (const int threads : {1, 2}) {
    for (const Shape& s : kShapes) {
      Pair ops(threads);
      Random random;
      Matrix a = random.matrix(s.rows, s.cols), b = random.matrix(s.rows, s.cols);
      const std::vector<float> bias = random.vector(s.cols);
      Matrix got(s.rows, s.cols), wanted(s.rows, s.cols);
      // One f32 addition has one right result.
      for (const float* added : {static_cast<const float*>(nullptr), bias.data()}) {
        ops.cpu->sum(a.view(), b.view(), added, got.view(), *ops.stream);
        ops.reference->sum(a.view(), b.view(), added, wanted.view(), *ops.stream);
        expect_near(got, wanted, 0.0, describe("sum", s, threads));
      }
      ops.cpu->add(a.view(), got.view(), *ops.stream);
      ops.reference->add(a.view(), wanted.view(), *ops.stream);
      expect_near(got, wanted, 0.0, describe("add", s, threads));
      ops.cpu->add_bias(bias.data(), got.view(), *ops.stream);
      ops.reference->add_bias(bias.data(), wanted.view(), *ops.stream);
      expect_near(got, wanted, 0.0, describe("add_bias", s, threads));
      ops.cpu->copy(a.view(), got.view(), *ops.stream);
      expect_near(got, a, 0.0, describe("copy", s, threads));
      ops.cpu->fill(got.view(), -2.5f, *ops.stream);
      ops.reference->fill(wanted.view(), -2.5f, *ops.stream);
      expect_near(got, wanted, 0.0, describe("fill", s, threads));
    }
  }
}

TEST(CpuOperators, GatherRows) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    for (const std::int64_t cols : {1, 31, 576}) {
      Pair ops(2);
      Random random;
      const std::vector<float> numbers = random.vector(20 * cols);
      std::vector<std::byte> stored(numbers.size() * size_of(type));
      convert(numbers.data(), DType::f32, stored.data(), type, numbers.size());
      std::vector<std::int32_t> ids = {19, 0, 7, 7};
      while (ids.size() < 70) ids.push_back(static_cast<std::int32_t>(ids.size() * 3 % 20));
      const auto rows = static_cast<std::int64_t>(ids.size());
      Matrix got(rows, cols), wanted(rows, cols);
      const HostTable table{stored.data(), type, 20, cols};
      ops.cpu->gather_rows(table, ids, got.view(), *ops.stream);
      ops.reference->gather_rows(table, ids, wanted.view(), *ops.stream);
      expect_near(got, wanted, 0.0, fmt::format("gather {} of {}", name(type), cols));
      ids[1] = 20;
      EXPECT_THROW(ops.cpu->gather_rows(table, ids, got.view(), *ops.stream), Error);
      ids[1] = -1;
      EXPECT_THROW(ops.cpu->gather_rows(table, ids, got.view(), *ops.stream), Error);
    }
  }
}

TEST(CpuOperators, TopK) {
  for (const Shape& s : {Shape{1, 1}, {3, 5}, {2, 1000}, {70, 613}}) {
    for (const std::int64_t k : {std::int64_t{1}, std::int64_t{2}, std::int64_t{40}, s.cols}) {
      if (k > s.cols) continue;
      Pair ops(2);
      Random random;
      Matrix logits = random.matrix(s.rows, s.cols);
      // Many ties: half of the logits are multiples of 1/4.
      for (std::int64_t t = 0; t < s.rows; ++t) {
        for (std::int64_t i = 0; i < s.cols; i += 2) {
          logits.at(t, i) = std::round(logits.at(t, i) * 4.0f) / 4.0f;
        }
      }
      const auto got = ops.cpu->top_k(logits.view(), k, *ops.stream);
      const auto wanted = ops.reference->top_k(logits.view(), k, *ops.stream);
      ASSERT_EQ(got.size(), static_cast<std::size_t>(s.rows * k));
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i].index, wanted[i].index) << "candidate " << i << ", k " << k;
        ASSERT_EQ(got[i].logit, wanted[i].logit);
      }
    }
  }
}

TEST(CpuOperators, TopKOfAscendingAndDescendingRows) {
  Pair ops;
  Matrix logits(2, 100);
  for (int i = 0; i < 100; ++i) {
    logits.at(0, i) = static_cast<float>(i);
    logits.at(1, i) = static_cast<float>(-i);
  }
  const auto got = ops.cpu->top_k(logits.view(), 3, *ops.stream);
  const std::int32_t wanted[] = {99, 98, 97, 0, 1, 2};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(got[i].index, wanted[i]);
}

TEST(CpuOperators, TopKPutsNanLast) {
  Pair ops;
  Matrix logits(1, 40);
  ops.cpu->fill(logits.view(), std::numeric_limits<float>::quiet_NaN(), *ops.stream);
  logits.at(0, 17) = -3.0f;
  logits.at(0, 30) = 2.0f;
  const auto got = ops.cpu->top_k(logits.view(), 2, *ops.stream);
  EXPECT_EQ(got[0].index, 30);
  EXPECT_EQ(got[1].index, 17);
}

TEST(CpuOperators, LogSumExp) {
  for (const Shape& s : {Shape{1, 1}, {3, 5}, {2, 1000}, {70, 613}, {1, 49152}}) {
    for (const float range : {1.0f, 200.0f}) {
      Pair ops(2);
      Random random;
      Matrix logits = random.matrix(s.rows, s.cols, -range, range);
      const auto got = ops.cpu->log_sum_exp(logits.view(), *ops.stream);
      const auto wanted = ops.reference->log_sum_exp(logits.view(), *ops.stream);
      ASSERT_EQ(got.size(), wanted.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i].max, wanted[i].max);
        // f32 sums of up to 49152 / lanes terms a lane, all of one sign.
        EXPECT_NEAR(got[i].sum, wanted[i].sum, 5e-5 * wanted[i].sum);
      }
    }
  }
}

TEST(CpuOperators, RefusesShapesThatDiffer) {
  Pair ops;
  Matrix a(2, 4), b(2, 5), c(3, 4);
  for (Operators* implementation : {ops.cpu.get(), ops.reference.get()}) {
    EXPECT_THROW(implementation->sum(a.view(), b.view(), nullptr, a.view(), *ops.stream), Error);
    EXPECT_THROW(implementation->add(a.view(), c.view(), *ops.stream), Error);
    EXPECT_THROW(implementation->copy(a.view(), c.view(), *ops.stream), Error);
    EXPECT_THROW(implementation->top_k(a.view(), 5, *ops.stream), Error);
    EXPECT_THROW(implementation->make_weight(DType::f32, -1, 4), Error);
  }
}

}  // namespace
}  // namespace spd::test
