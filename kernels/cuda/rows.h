// Rows in device memory, and what a product is written to: what host code hands to kernels.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/operators.h"

namespace spd::cuda {

template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t stride = 0;  ///< elements
  __device__ T* operator[](std::int64_t row) const { return data + row * stride; }
};

/// What a product [tokens, outputs] is written to, and with what.
struct Finish {
  const float* bias = nullptr;  ///< [weight rows]
  Rows<const float> plus_a, plus_b;
  Rows<float> y;
  Epilogue epilogue = Epilogue::none;
  bool accumulate = false;
};

}  // namespace spd::cuda
