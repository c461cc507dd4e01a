// Products of many tokens with a weight, by cuBLASLt.
#pragma once

#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "kernels/cuda/library.h"
#include "kernels/cuda/queue.h"
#include "kernels/device/device.h"
#include "kernels/device/dtype.h"

namespace spd::cuda {

/// The functions of cuBLASLt that are used.
struct CublasLtFunctions {
  explicit CublasLtFunctions(const Library& library);
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetStatusString) status_string;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmul) matmul;
};

/// A factor as cuBLAS sees it, columns first: a row-major matrix of ours is its own transpose
/// there, [columns, rows].
struct Factor {
  const void* data = nullptr;
  std::int64_t rows = 0, cols = 0;  ///< columns first
  std::int64_t stride = 0;          ///< elements from column to column
  bool transposed = false;
};

/// y (+)= a * b, columns first, with a and b of one type, turned as they say; y [rows, cols] f32.
struct Product {
  DType type = DType::bf16;  ///< f32, bf16 or f16
  Factor a, b;
  float* y = nullptr;
  std::int64_t y_stride = 0;
  bool accumulate = false;
  std::int64_t rows() const { return a.transposed ? a.cols : a.rows; }
  std::int64_t cols() const { return b.transposed ? b.rows : b.cols; }
};

class Matmul {
 public:
  /// Loads the library. Throws device Error.
  explicit Matmul(Device& device);
  Matmul(const Matmul&) = delete;
  Matmul& operator=(const Matmul&) = delete;
  ~Matmul();
  /// Sums in f32. The way to do it is chosen once a shape.
  void run(const Product& product, const Queue& queue);

 private:
  struct Plan;
  using ShapeKey = std::array<std::int64_t, 13>;
  const Plan& plan_for(const Product& product);
  void check(cublasStatus_t status, const char* what) const;

  Library library_;
  CublasLtFunctions lt_;
  cublasLtHandle_t handle_ = nullptr;
  Buffer workspace_;
  std::map<ShapeKey, std::unique_ptr<Plan>> plans_;
};

}  // namespace spd::cuda
