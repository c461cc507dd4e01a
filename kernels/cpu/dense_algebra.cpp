#include "kernels/cpu/dense_algebra.h"

#include <cblas.h>
#include <f77blas.h>
#include <fmt/format.h>

#include <algorithm>

#include "kernels/cpu/gemm.h"
#include "kernels/device/error.h"

// LAPACK in OpenBLAS, whose header leaves this one out: https://www.netlib.org/lapack, dsyevd.
extern "C" {  // NOLINTNEXTLINE(readability-identifier-naming): as Fortran's compiler calls it
void dsyevd_(const char* jobz, const char* uplo, const blasint* n, double* a, const blasint* lda,
             double* w, double* work, const blasint* lwork, blasint* iwork, const blasint* liwork,
             blasint* info);
}

namespace spd {
namespace {

blasint as_int(std::int64_t value) { return static_cast<blasint>(value); }

/// Keeps OpenBLAS to the calling thread.
void use_one_blas_thread() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

void add_gram(const float* x, std::int64_t rows, DenseMatrix& gram) {
  const std::int64_t n = gram.rows;
  std::vector<float> sum(gram.values.size());
  constexpr std::int64_t kColumns = 192;  // little below the diagonal is computed in vain
  for (std::int64_t first = 0; first < n; first += kColumns) {
    const std::int64_t end = std::min(n, first + kColumns);
    multiply_left_transposed(end, end - first, rows, x, n, x + first, n, 0.0f, sum.data() + first,
                             n);
  }
  for (std::int64_t i = 0; i < gram.rows; ++i) {
    for (std::int64_t j = i; j < gram.cols; ++j) gram.at(i, j) += sum[i * gram.cols + j];
  }
}

void add_cross(const float* x, const float* y, std::int64_t rows, DenseMatrix& cross) {
  const std::int64_t n = cross.rows, m = cross.cols;
  std::vector<float> sum(cross.values.size());
  multiply_left_transposed(n, m, rows, x, n, y, m, 0.0f, sum.data(), m);
  for (std::size_t i = 0; i < sum.size(); ++i) cross.values[i] += sum[i];
}

void mirror_upper(DenseMatrix& symmetric) {
  for (std::int64_t i = 0; i < symmetric.rows; ++i) {
    for (std::int64_t j = 0; j < i; ++j) symmetric.at(i, j) = symmetric.at(j, i);
  }
}

DenseMatrix product(const DenseMatrix& a, const DenseMatrix& b, bool transpose_a,
                    bool transpose_b) {
  DenseMatrix c(transpose_a ? a.cols : a.rows, transpose_b ? b.rows : b.cols);
  const std::int64_t depth = transpose_a ? a.rows : a.cols;
  if (depth != (transpose_b ? b.cols : b.rows)) {
    throw Error(ErrorCode::internal, "product of matrices that do not fit");
  }
  if (c.values.empty() || depth == 0) return c;
  use_one_blas_thread();
  cblas_dgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
              transpose_b ? CblasTrans : CblasNoTrans, as_int(c.rows), as_int(c.cols),
              as_int(depth), 1.0, a.values.data(), as_int(a.cols), b.values.data(), as_int(b.cols),
              0.0, c.values.data(), as_int(c.cols));
  return c;
}

DenseMatrix solve_positive(const DenseMatrix& a, const DenseMatrix& b) {
  // LAPACK is column-major: a row-major upper triangle is its lower one, and each right side must
  // be a column, that is a row of b's transpose.
  DenseMatrix factor = a;
  DenseMatrix sides(b.cols, b.rows);
  for (std::int64_t i = 0; i < b.rows; ++i) {
    for (std::int64_t j = 0; j < b.cols; ++j) sides.at(j, i) = b.at(i, j);
  }
  blasint n = as_int(a.rows), count = as_int(b.cols), info = 0;
  char lower = 'L';
  use_one_blas_thread();
  dpotrf_(&lower, &n, factor.values.data(), &n, &info);
  if (info != 0) {
    throw Error(ErrorCode::input,
                fmt::format("normal equations of {} unknowns are not positive definite (pivot {})",
                            a.rows, info),
                "calibrate on more text, or with a larger ridge");
  }
  dpotrs_(&lower, &n, &count, factor.values.data(), &n, sides.values.data(), &n, &info);
  DenseMatrix x(b.rows, b.cols);
  for (std::int64_t i = 0; i < b.rows; ++i) {
    for (std::int64_t j = 0; j < b.cols; ++j) x.at(i, j) = sides.at(j, i);
  }
  return x;
}

Eigen symmetric_eigen(const DenseMatrix& a) {
  DenseMatrix vectors = a;
  const blasint n = as_int(a.rows);
  std::vector<double> ascending(a.rows);
  double best_work = 0.0;
  blasint best_integers = 0, info = 0, query = -1;
  use_one_blas_thread();
  dsyevd_("V", "L", &n, vectors.values.data(), &n, ascending.data(), &best_work, &query,
          &best_integers, &query, &info);
  std::vector<double> work(static_cast<std::size_t>(best_work));
  std::vector<blasint> integers(best_integers);
  const blasint work_size = as_int(static_cast<std::int64_t>(work.size()));
  dsyevd_("V", "L", &n, vectors.values.data(), &n, ascending.data(), work.data(), &work_size,
          integers.data(), &best_integers, &info);
  if (info != 0) {
    throw Error(ErrorCode::input, fmt::format("eigenvalues of a matrix of {} not found", a.rows),
                "the calibration data hold values that are not finite");
  }
  Eigen eigen;
  eigen.vectors = DenseMatrix(a.rows, a.rows);
  for (std::int64_t i = 0; i < a.rows; ++i) {  // columns of LAPACK's are rows here
    eigen.values.push_back(ascending[a.rows - 1 - i]);
    std::copy_n(vectors.row(a.rows - 1 - i), a.rows, eigen.vectors.row(i));
  }
  return eigen;
}

}  // namespace spd
