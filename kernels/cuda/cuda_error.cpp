#include "kernels/cuda/cuda_error.h"

#include <fmt/format.h>

#include <string>

#include "kernels/device/error.h"
#include "kernels/device/log.h"

namespace spd::cuda {

namespace {

std::string remedy(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "use more ranks, a shorter context or a smaller batch, or see with nvidia-smi who "
             "else uses the GPU";
    case cudaErrorInsufficientDriver:
      return "install an NVIDIA driver of release 580 or later, or use --device cpu";
    case cudaErrorNoDevice:
      return "see what nvidia-smi lists and whether CUDA_VISIBLE_DEVICES hides it, or use --device "
             "cpu";
    case cudaErrorDevicesUnavailable:
      return "another process holds the GPU exclusively: see nvidia-smi, or choose another one by "
             "--device cuda:N";
    case cudaErrorNoKernelImageForDevice:
      return "this build has code for compute capability 8.0 and later";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
      return "the GPU is lost to this process: start it again; dmesg may name a hardware fault "
             "(Xid)";
    default:
      return "";
  }
}

}  // namespace

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw Error(
      ErrorCode::device,
      fmt::format("CUDA: {}: {} ({})", what, cudaGetErrorString(error), cudaGetErrorName(error)),
      remedy(error));
}

void note(cudaError_t error, const char* what) noexcept {
  if (error == cudaSuccess) return;
  try {
    warn_once(fmt::format("CUDA: {}: {}", what, cudaGetErrorString(error)));
  } catch (...) {  // a destructor has nobody to tell
  }
}

}  // namespace spd::cuda
