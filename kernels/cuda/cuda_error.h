// Errors of the CUDA runtime as errors of ours.
#pragma once

#include <cuda_runtime.h>

namespace spd::cuda {

/// Throws device Error unless `error` is cudaSuccess: what was tried, what CUDA said, a remedy.
void check(cudaError_t error, const char* what);
/// The same without throwing, for destructors: the first such error is logged.
void note(cudaError_t error, const char* what) noexcept;

}  // namespace spd::cuda
