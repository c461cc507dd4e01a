// A node's hardware: cores, memory, networks, GPUs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/gpu_links.h"

namespace spd {

/// A network interface that could carry messages to other nodes.
struct Nic {
  std::string name;                  ///< "eth0", "mlx5_0"
  std::string kind;                  ///< "ethernet", "infiniband"
  std::optional<double> gbit_per_s;  ///< as the driver says; virtual ones make it up
  std::optional<int> numa_node;
  std::optional<int> mtu_bytes = {};  ///< of a packet at most; InfiniBand's is no matter of sockets
};

struct Machine {
  std::string cpu;       ///< the model's name
  int cores = 0;         ///< physical ones
  int usable_cores = 0;  ///< that this process may run on
  int numa_nodes = 0;
  std::vector<int> numa_of_this_process;  ///< the NUMA nodes whose cores it may use
  std::int64_t memory_bytes = 0;
  std::vector<Nic> nics;
  GpuLinks gpus;
};

/// Of the node this process is on.
Machine discover_machine();

/// Interfaces that are up, but for the loopback and bridges, and InfiniBand ports that are active.
/// `sysfs`: what /sys is to Linux.
std::vector<Nic> discover_nics(const std::filesystem::path& sysfs = "/sys");

/// Whether this host has devices for RDMA, or one of this name ("mlx5_0", "mlx5_0:1").
bool has_rdma();
bool has_rdma(const std::string& device);

/// How many of them carry what ranks say to each other: the InfiniBand ports, or the rest where
/// there are none; with `allowed` (UCX_NET_DEVICES: names and commas) only those it names. At least
/// 1. Null, "" and "all" allow all.
int networks_between_nodes(const std::vector<Nic>& nics, const char* allowed);

}  // namespace spd
