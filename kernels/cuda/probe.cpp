#include "kernels/cuda/probe.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <array>

#include "kernels/cuda/cuda_error.h"
#include "kernels/device/error.h"

namespace spd::cuda {

namespace {

constexpr int kLeastMajor = 8;  // compute capability: bf16 on tensor cores

std::string version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

/// What the driver is called for people: CUDA 13 needs release 580.
void explain_driver(Probe& probe) {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) {
    probe.reason = "no NVIDIA driver is loaded on this machine";
    probe.remedy =
        "install the driver (release 580 or later), start the container with access to "
        "it (--gpus all), or use --device cpu";
  } else {
    probe.reason = fmt::format("the NVIDIA driver knows CUDA {}, this program needs {}",
                               version(driver), version(runtime / 1000 * 1000));
    probe.remedy = "update the driver to release 580 or later, or use --device cpu";
  }
}

GpuInfo info_of(int ordinal) {
  GpuInfo gpu;
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, ordinal), "asking for a GPU's properties");
  std::array<char, 32> address{};
  check(cudaDeviceGetPCIBusId(address.data(), static_cast<int>(address.size()), ordinal),
        "asking for a GPU's address");
  gpu.name = properties.name;
  gpu.pci_address = address.data();
  gpu.major = properties.major;
  gpu.minor = properties.minor;
  gpu.multiprocessors = properties.multiProcessorCount;
  gpu.memory = properties.totalGlobalMem;
  return gpu;
}

}  // namespace

std::string Probe::describe() const {
  if (gpus.empty()) return reason;
  return fmt::format("{} GPU{}: {} (compute capability {}.{})", gpus.size(),
                     gpus.size() == 1 ? "" : "s", gpus.front().name, gpus.front().major,
                     gpus.front().minor);
}

Probe probe_gpus() {
  Probe probe;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  switch (error) {
    case cudaSuccess:
      break;
    case cudaErrorInsufficientDriver:
      explain_driver(probe);
      return probe;
    case cudaErrorNoDevice:
      probe.reason = "the driver is there, but shows no GPU";
      probe.remedy =
          "see what nvidia-smi lists and whether CUDA_VISIBLE_DEVICES hides it, or use "
          "--device cpu";
      return probe;
    default:
      probe.reason = fmt::format("the GPUs cannot be listed: {} ({})", cudaGetErrorString(error),
                                 cudaGetErrorName(error));
      probe.remedy = "see what nvidia-smi says, or use --device cpu";
      return probe;
  }
  for (int ordinal = 0; ordinal < count; ++ordinal) probe.gpus.push_back(info_of(ordinal));
  return probe;
}

GpuInfo require_gpu(int ordinal) {
  const Probe probe = probe_gpus();
  if (probe.gpus.empty()) throw Error(ErrorCode::device, probe.reason, probe.remedy);
  if (ordinal < 0 || ordinal >= static_cast<int>(probe.gpus.size())) {
    throw Error(ErrorCode::device, fmt::format("there is no GPU {}: {}", ordinal, probe.describe()),
                "name one by --device cuda:N, counted from 0");
  }
  const GpuInfo& gpu = probe.gpus[ordinal];
  if (gpu.major < kLeastMajor) {
    throw Error(ErrorCode::device,
                fmt::format("GPU {} ({}) has compute capability {}.{}, this program needs {}.0",
                            ordinal, gpu.name, gpu.major, gpu.minor, kLeastMajor),
                "use an A100, H100, H200, B200 or later, or --device cpu");
  }
  return gpu;
}

}  // namespace spd::cuda
