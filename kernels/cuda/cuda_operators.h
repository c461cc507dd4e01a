// The operators of one rank on a GPU.
#pragma once

#include <memory>

#include "kernels/cuda/cuda_device.h"
#include "kernels/operators.h"

namespace spd::cuda {

/// `device` must outlive them. They are used with one stream at a time.
std::unique_ptr<Operators> make_cuda_operators(CudaDevice& device);

}  // namespace spd::cuda
