// The network that a job's nodes talk over, agreed upon by all ranks once MPI runs.
#pragma once

#include <string>

#include "comm/mpi_handle.h"
#include "comm/topology.h"

namespace spd {

/// What the nodes of a job talk over.
struct JobNetwork {
  std::string ucx_devices;  ///< of this rank, as UCX_NET_DEVICES takes them; empty: left to UCX
  std::string description;  ///< "eth0, 10.77.0.0/24"
  std::string reason;
};

/// Throws usage Error where this host has no such interface, network or RDMA device.
void check_nic(const std::string& nic);

/// `nic`: of --nic, an interface, a network or an RDMA device that every node must have (others
/// throw usage Error, on all ranks). Without it what UCX_NET_DEVICES says; the loopback on one
/// node; UCX's choice where there is RDMA; else what shared_interfaces() finds. Collective.
JobNetwork agree_on_network(const MpiComm& world, const Topology& topology, const std::string& nic);

}  // namespace spd
