// What GPUs there are, and one message where they cannot be used.
#pragma once

#include <string>
#include <vector>

namespace spd::cuda {

struct GpuInfo {
  std::string name;
  std::string pci_address;
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 0;
  std::size_t memory = 0;  ///< bytes
};

struct Probe {
  std::vector<GpuInfo> gpus;
  /// Why there are none, and what helps; empty otherwise.
  std::string reason, remedy;
  /// "2 GPUs: NVIDIA H200 (compute capability 9.0)", or the reason.
  std::string describe() const;
};

/// Never throws for what it finds: it tells. Costs a context on no GPU.
Probe probe_gpus();

/// Throws device Error with the reason and remedy where GPU `ordinal` cannot be used.
GpuInfo require_gpu(int ordinal);

}  // namespace spd::cuda
