// The network that joins the nodes: which of a host's there are, and which one MPI and UCX are to
// listen on and talk over.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/launcher_claim.h"

namespace spd {

/// A network interface that is up and has an IPv4 address. Sent between processes as it is.
struct Interface {
  char name[16] = {};         ///< "eth0"
  std::uint32_t address = 0;  ///< in host order, as all addresses here
  std::uint32_t mask = 0;
  float gbit_per_s = 0;  ///< 0: unknown
  bool is_bridge = false;

  /// "10.77.0.0/24"
  std::string subnet() const;
};

std::string address_text(std::uint32_t address);
/// Those of this host, without the loopback.
std::vector<Interface> ipv4_interfaces();
/// What this host's name resolves to, if that is an IPv4 address.
std::optional<std::uint32_t> address_of_host_name();

/// The first interface of this name, or with an address in this network ("10.77.0.0/24"); or null.
const Interface* find_interface(std::span<const Interface> interfaces, std::string_view wanted);

/// What this host alone can tell: the only interface (bridges left out where there are others), or
/// the one that has the address of the host's name; else null.
const Interface* likely_interface(std::span<const Interface> interfaces,
                                  std::optional<std::uint32_t> host_address);

/// What joins all nodes: [nodes], each node's interface with an address of its own in one network.
/// Of several the fastest, then the one that has `host_address`, the first node's name's. Empty
/// where there is none. `nodes`: [nodes], each node's interfaces, none empty.
std::vector<const Interface*> shared_interfaces(std::span<const std::vector<Interface>> nodes,
                                                std::optional<std::uint32_t> host_address);

/// What MPI is told before it starts.
struct MpiNetwork {
  bool one_node = false;                  ///< all ranks are of this node: MPI needs no network
  std::optional<Interface> interface {};  ///< to listen on; none: left to MPI
};

/// `nic`: of --nic, a name or a network, or empty: then what btl_tcp_if_include says, if it is one
/// interface or network, then likely_interface().
MpiNetwork choose_for_mpi(std::string_view nic, const Variables& variables,
                          std::span<const Interface> interfaces,
                          std::optional<std::uint32_t> (*host_address)() = address_of_host_name);

/// Sets the environment variables that tell Open MPI so, before MPI_Init. Those that are set
/// already win, but for the network against --nic. On one node its ranks only need shared memory
/// (btl: self, vader); a process without a launcher starts no daemon. Processors of messages of
/// their own (pml cm, ucx) open sockets, too, and are left out where there is no RDMA.
void tell_open_mpi(const MpiNetwork& network, std::string_view nic, bool rdma,
                   const Variables& variables);

}  // namespace spd
