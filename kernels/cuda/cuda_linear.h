// Operators::linear on a GPU: streaming products for a few tokens, cuBLASLt for many.
#pragma once

#include <optional>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/gemv.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/workspace.h"
#include "kernels/operators.h"

namespace spd::cuda {

/// Up to kGemvTokens tokens are multiplied as f32. More are rounded to the weight's type first (for
/// i8: bf16), as tensor cores take them; sums are f32 always.
class CudaLinear {
 public:
  explicit CudaLinear(CudaDevice& device);
  /// Arguments already checked.
  void run(const LinearArgs& args, Stream& stream);

 private:
  void run_few(const LinearArgs& args, const Queue& queue);
  void run_many(const LinearArgs& args, const Queue& queue);
  const void* converted(const LinearArgs& args, DType type, std::int64_t& stride,
                        const Queue& queue);

  CudaDevice& device_;
  std::optional<Matmul> matmul_;  // the library is loaded when it is needed
  Workspace normed_, activations_, weights_, product_;
};

}  // namespace spd::cuda
