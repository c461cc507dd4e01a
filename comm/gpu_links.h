// The GPUs of this node and how they reach each other, as NVML tells. NVML is loaded when it is
// asked for: a machine without NVIDIA's driver has no GPUs, and nothing else changes.
// NVML: https://docs.nvidia.com/deploy/nvml-api
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spd {

struct Gpu {
  std::string name;
  std::string pci_address;  ///< "00000000:3B:00.0"
  std::int64_t memory_bytes = 0;
};

/// Two GPUs of a node, first < second.
struct GpuPair {
  int first = 0;
  int second = 0;
  int nvlinks = 0;  ///< active ones between them, straight or through a switch
  /// How PCIe joins them, as nvidia-smi topo names it: "same board", "PIX" (one switch), "PXB"
  /// (several), "PHB" (the host bridge), "NODE" (a NUMA node), "SYS" (across NUMA nodes), "?".
  std::string pcie;
  bool peer_access = false;  ///< each may read the other's memory
};

struct GpuLinks {
  std::vector<Gpu> gpus;
  std::vector<GpuPair> pairs;
  std::string absent;  ///< why there are none; empty where there are
};

/// Never throws for what a driver lacks or refuses.
GpuLinks discover_gpus(const char* library = "libnvidia-ml.so.1");

}  // namespace spd
