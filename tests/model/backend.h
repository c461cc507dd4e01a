// Where a test of whole models computes: on the CPU or, compiled with SPD_TEST_CUDA, on a GPU.
#pragma once

#include <memory>

#include "kernels/device/cpu_device.h"
#include "kernels/gradients.h"
#include "kernels/operators.h"

#if defined(SPD_TEST_CUDA)
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_gradients.h"
#include "kernels/cuda/cuda_operators.h"
#endif

namespace spd {

struct TestBackend {
  std::unique_ptr<Device> device;
  std::unique_ptr<Operators> operators;
  std::unique_ptr<Gradients> gradients;  ///< products of f32
};

inline TestBackend make_test_backend(int threads) {
#if defined(SPD_TEST_CUDA)
  auto device = std::make_unique<cuda::CudaDevice>(0);
  auto operators = cuda::make_cuda_operators(*device);
  auto gradients = cuda::make_cuda_gradients(*device, DType::f32);
  static_cast<void>(threads);
#else
  auto device = std::make_unique<CpuDevice>();
  auto operators = make_cpu_operators(*device, {threads, {}});
  auto gradients = make_cpu_gradients({threads, {}, MatmulMode::f32});
#endif
  return {std::move(device), std::move(operators), std::move(gradients)};
}

}  // namespace spd
