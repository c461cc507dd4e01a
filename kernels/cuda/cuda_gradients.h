// The backward operators of one rank on a GPU.
#pragma once

#include <memory>

#include "kernels/cuda/cuda_device.h"
#include "kernels/gradients.h"

namespace spd::cuda {

/// `operands`: what factors of products are rounded to, bf16, or f32: as they are. Attention is f32
/// either way. `device` must outlive them. They are used with one stream at a time.
std::unique_ptr<Gradients> make_cuda_gradients(CudaDevice& device, DType operands = DType::bf16);

}  // namespace spd::cuda
