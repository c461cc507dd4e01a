// Random inputs, and the pair of Operators under comparison.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/device/cpu_device.h"
#include "kernels/operators.h"

namespace spd::test {

/// A host matrix with room between its rows, so that a kernel that takes the stride for the width,
/// or writes beyond the width, is found out.
class Matrix {
 public:
  Matrix() = default;
  Matrix(std::int64_t rows, std::int64_t cols, std::int64_t gap = 3)
      : rows_(rows), cols_(cols), stride_(cols + gap), data_(rows * stride_, kGuard) {}

  Activations view() { return {data_.data(), rows_, cols_, stride_}; }
  float& at(std::int64_t r, std::int64_t c) { return data_[r * stride_ + c]; }
  bool gaps_untouched() const {
    for (std::int64_t r = 0; r < rows_; ++r) {
      for (std::int64_t c = cols_; c < stride_; ++c) {
        if (data_[r * stride_ + c] != kGuard) return false;
      }
    }
    return true;
  }

 private:
  static constexpr float kGuard = 123.0f;
  std::int64_t rows_ = 0, cols_ = 0, stride_ = 0;
  std::vector<float> data_;
};

class Random {
 public:
  explicit Random(unsigned seed = 1) : generator_(seed) {}
  float uniform(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(generator_);
  }
  std::vector<float> vector(std::int64_t count, float low = -1.0f, float high = 1.0f) {
    std::vector<float> values(count);
    for (float& v : values) v = uniform(low, high);
    return values;
  }
  Matrix matrix(std::int64_t rows, std::int64_t cols, float low = -1.0f, float high = 1.0f) {
    Matrix result(rows, cols);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < cols; ++c) result.at(r, c) = uniform(low, high);
    }
    return result;
  }

 private:
  std::mt19937 generator_;
};

/// The CPU's operators on a number of threads, and the reference they are compared with.
struct Pair {
  explicit Pair(int threads = 1, MatmulMode products = MatmulMode::f32)
      : stream(device.make_stream()),
        reference(make_reference_operators(device)),
        cpu(make_cpu_operators(device, {.threads = threads, .cores = {}, .products = products})) {}

  /// A weight of random values below 1 / sqrt(cols), so that products stay of the order of one.
  Weight random_weight(Random& random, DType type, std::int64_t rows, std::int64_t cols) {
    Weight weight = cpu->make_weight(type, rows, cols);
    const float bound = 1.0f / std::sqrt(static_cast<float>(cols));
    const std::vector<float> values = random.vector(rows * cols, -bound, bound);
    std::vector<std::byte> stored(rows * cols * size_of(host_type(type)));
    convert(values.data(), DType::f32, stored.data(), host_type(type), values.size());
    cpu->fill_rows(weight, 0, stored.data(), rows, cols, *stream);
    return weight;
  }

  CpuDevice device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Operators> reference;
  std::unique_ptr<Operators> cpu;
};

/// |got - wanted| <= tolerance * (1 + |wanted|), everywhere.
inline void expect_near(Matrix& got, Matrix& wanted, double tolerance, const std::string& what) {
  const Activations g = got.view(), w = wanted.view();
  ASSERT_EQ(g.rows, w.rows);
  ASSERT_EQ(g.cols, w.cols);
  for (std::int64_t r = 0; r < g.rows; ++r) {
    for (std::int64_t c = 0; c < g.cols; ++c) {
      const double error = std::abs(static_cast<double>(g.row(r)[c]) - w.row(r)[c]);
      ASSERT_LE(error, tolerance * (1.0 + std::abs(w.row(r)[c])))
          << what << " at [" << r << ", " << c << "]: " << g.row(r)[c] << ", wanted "
          << w.row(r)[c];
    }
  }
  EXPECT_TRUE(got.gaps_untouched()) << what << " wrote between the rows";
}

}  // namespace spd::test
