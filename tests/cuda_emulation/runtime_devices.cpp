// The CUDA runtime's functions on devices, versions and errors.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda_emulation/call.h"
#include "tests/cuda_emulation/capture.h"
#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/streams.h"

using namespace cuda_emulation;

namespace {

constexpr int kMajor = 9, kMinor = 0;  // as an H200
constexpr int kMostSharedBytes = 227 << 10;

bool exists(int device) { return device >= 0 && device < options().devices; }

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  SPD_BEGIN_CALL(call);
  *count = options().devices;
  return remember(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) {
  SPD_BEGIN_CALL(call);
  if (!exists(device)) return remember(cudaErrorInvalidDevice);
  set_current_device(device);
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  SPD_BEGIN_CALL(call);
  *device = current_device();
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  SPD_BEGIN_CALL(call);
  if (!exists(device)) return remember(cudaErrorInvalidDevice);
  std::memset(static_cast<void*>(properties), 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, "emulated CUDA device");
  properties->major = kMajor;
  properties->minor = kMinor;
  properties->multiProcessorCount = options().multiprocessors;
  properties->totalGlobalMem = options().memory;
  properties->warpSize = 32;
  properties->pciBusID = device + 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  SPD_BEGIN_CALL(call);
  if (!exists(device)) return remember(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = options().multiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = kMajor;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = kMinor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = kMostSharedBytes;
      return cudaSuccess;
    default:
      return remember(cudaErrorNotSupported);
  }
}

cudaError_t cudaDeviceGetPCIBusId(char* address, int length, int device) {
  SPD_BEGIN_CALL(call);
  if (!exists(device)) return remember(cudaErrorInvalidDevice);
  std::snprintf(address, static_cast<std::size_t>(length), "0000:%02X:00.0", device + 1);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetByPCIBusId(int* device, const char* address) {
  SPD_BEGIN_CALL(call);
  const char* const bus = std::strchr(address, ':');
  const int found = bus ? static_cast<int>(std::strtol(bus + 1, nullptr, 16)) - 1 : -1;
  if (!exists(found)) return remember(cudaErrorInvalidValue);
  *device = found;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  SPD_BEGIN_CALL(call);
  if (const cudaError_t error = forbid_in_capture(); error != cudaSuccess) return remember(error);
  const int device = current_device();
  const cudaError_t error = work(call.lock(), [&] { return all_idle(device); });
  if (error == cudaSuccess) host_has_seen_all(device);
  return remember(error);
}

// Works without a driver.
cudaError_t cudaDriverGetVersion(int* version) {
  *version = options().driver;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return take_last_error(); }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorDevicesUnavailable:
      return "cudaErrorDevicesUnavailable";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    default:
      return "cudaError";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return "emulated error";
  }
}

}  // extern "C"
