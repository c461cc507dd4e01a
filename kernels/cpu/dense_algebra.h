// Dense linear algebra in double precision on the host, by OpenBLAS and its LAPACK: what
// closed-form fits are made of. Matrices are row-major and contiguous; one thread a call.
#pragma once

#include <cstdint>
#include <vector>

namespace spd {

/// A matrix of doubles on the host.
struct DenseMatrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<double> values;

  DenseMatrix() = default;
  DenseMatrix(std::int64_t row_count, std::int64_t col_count)
      : rows(row_count), cols(col_count), values(row_count * col_count, 0.0) {}
  double* row(std::int64_t i) { return values.data() + i * cols; }
  const double* row(std::int64_t i) const { return values.data() + i * cols; }
  double& at(std::int64_t i, std::int64_t j) { return values[i * cols + j]; }
  double at(std::int64_t i, std::int64_t j) const { return values[i * cols + j]; }
};

/// gram[n, n] += x^T x over the `rows` rows of x[rows, n]; only the upper triangle is kept. The
/// rows of a call are multiplied in f32, twice as fast, and their sum is added up in double: a call
/// should bring no more of them than f32 can add up, hundreds and not millions.
void add_gram(const float* x, std::int64_t rows, DenseMatrix& gram);
/// cross[n, m] += x^T y over the `rows` rows of x[rows, n] and y[rows, m]; likewise.
void add_cross(const float* x, const float* y, std::int64_t rows, DenseMatrix& cross);
/// Copies the upper triangle to the lower one.
void mirror_upper(DenseMatrix& symmetric);

/// a b, a^T b, a b^T.
DenseMatrix product(const DenseMatrix& a, const DenseMatrix& b, bool transpose_a = false,
                    bool transpose_b = false);

/// Solves a x = b for a symmetric positive definite a [n, n] (upper triangle read) and b [n, m], by
/// Cholesky. Throws input Error where a is not positive definite.
DenseMatrix solve_positive(const DenseMatrix& a, const DenseMatrix& b);

/// Eigenvalues, largest first, and eigenvectors, row i to value i, of a symmetric matrix (upper
/// triangle read).
struct Eigen {
  std::vector<double> values;
  DenseMatrix vectors;
};
Eigen symmetric_eigen(const DenseMatrix& a);

}  // namespace spd
