// Products of many tokens with a weight, by cuBLASLt.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

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

/// y [tokens, rows] f32 = x [tokens, cols] * weight [rows, cols]^T, x and weight of one type.
struct Product {
  DType type = DType::bf16;  ///< f32, bf16 or f16
  std::int64_t tokens = 0, rows = 0, cols = 0;
  const void* x = nullptr;
  std::int64_t x_stride = 0;
  const void* weight = nullptr;
  std::int64_t weight_stride = 0;
  float* y = nullptr;
  std::int64_t y_stride = 0;
  bool accumulate = false;
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
  using ShapeKey = std::tuple<DType, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                              std::int64_t, std::int64_t, bool>;
  const Plan& plan_for(const Product& product, bool aligned);
  void check(cublasStatus_t status, const char* what) const;

  Library library_;
  CublasLtFunctions lt_;
  cublasLtHandle_t handle_ = nullptr;
  Buffer workspace_;
  std::map<ShapeKey, std::unique_ptr<Plan>> plans_;
};

}  // namespace spd::cuda
