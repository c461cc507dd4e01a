// Where a kernel is launched, and what the launch may assume of the device.
#pragma once

#include <cuda_runtime.h>

namespace spd::cuda {

struct Queue {
  cudaStream_t stream = nullptr;
  int multiprocessors = 1;
  /// The device starts a kernel's prologue while its predecessor ends (compute capability 9).
  bool programmatic = false;
};

}  // namespace spd::cuda
