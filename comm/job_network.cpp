#include "comm/job_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "comm/machine.h"
#include "comm/network.h"
#include "kernels/device/error.h"

namespace spd {

namespace {

// What a node has, as its ranks see it.
struct HostNetworks {
  std::vector<Interface> interfaces;
  bool rdma = false;
  bool nic_is_rdma = false;
  std::uint32_t host_address = 0;  // 0: unknown

  static HostNetworks of_this_host(const std::string& nic, bool asks_for_name) {
    HostNetworks mine{ipv4_interfaces(), has_rdma(), has_rdma(nic), 0};
    if (asks_for_name) mine.host_address = address_of_host_name().value_or(0);
    return mine;
  }

  std::vector<std::byte> bytes() const {
    std::vector<std::byte> bytes(kHead + interfaces.size() * sizeof(Interface));
    bytes[0] = static_cast<std::byte>(rdma);
    bytes[1] = static_cast<std::byte>(nic_is_rdma);
    std::memcpy(bytes.data() + 4, &host_address, sizeof host_address);
    if (interfaces.empty()) return bytes;
    std::memcpy(bytes.data() + kHead, interfaces.data(), bytes.size() - kHead);
    return bytes;
  }

  static HostNetworks read(const std::vector<std::byte>& bytes) {
    HostNetworks host;
    host.rdma = bytes.at(0) != std::byte{0};
    host.nic_is_rdma = bytes.at(1) != std::byte{0};
    std::memcpy(&host.host_address, bytes.data() + 4, sizeof host.host_address);
    host.interfaces.resize((bytes.size() - kHead) / sizeof(Interface));
    if (host.interfaces.empty()) return host;
    std::memcpy(host.interfaces.data(), bytes.data() + kHead, bytes.size() - kHead);
    return host;
  }

  std::string names() const {
    std::string names;
    for (const Interface& one : interfaces) {
      names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", one.name, one.subnet());
    }
    return names.empty() ? "no network" : names;
  }

 private:
  static constexpr std::size_t kHead = 8;
};

[[noreturn]] void refuse_nic(const std::string& nic, const std::string& host,
                             const HostNetworks& networks) {
  throw Error(ErrorCode::usage, fmt::format("--nic {}: {} has {}", nic, host, networks.names()),
              "name an interface that every node has, or a network that every node has an "
              "address in, e.g. --nic 10.0.0.0/24");
}

JobNetwork asked_for(const std::vector<HostNetworks>& nodes, const Topology& topology, int node,
                     const std::string& nic) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].nic_is_rdma || find_interface(nodes[i].interfaces, nic) != nullptr) continue;
    refuse_nic(nic, "host " + topology.node_names.at(i), nodes[i]);
  }
  const Interface* own = find_interface(nodes.at(node).interfaces, nic);
  if (own == nullptr) return {nic, nic, "asked for by --nic"};
  return {own->name, fmt::format("{}, {}", own->name, own->subnet()), "asked for by --nic"};
}

}  // namespace

void check_nic(const std::string& nic) {
  const HostNetworks mine = HostNetworks::of_this_host(nic, false);
  if (mine.nic_is_rdma || find_interface(mine.interfaces, nic) != nullptr) return;
  refuse_nic(nic, "this host", mine);
}

JobNetwork agree_on_network(const MpiComm& world, const Topology& topology,
                            const std::string& nic) {
  const bool one_node = topology.nodes() == 1;
  const char* devices = std::getenv("UCX_NET_DEVICES");
  const auto mine = HostNetworks::of_this_host(nic, nic.empty() && !one_node);
  const auto all = all_gather_bytes(world.get(), world.size(), mine.bytes());
  std::vector<HostNetworks> nodes;
  for (int node = 0; node < topology.nodes(); ++node) {
    nodes.push_back(HostNetworks::read(all.at(topology.ranks_of_node(node).front())));
  }
  const int node = topology.node_of(world.rank());
  if (!nic.empty()) return asked_for(nodes, topology, node, nic);
  if (devices != nullptr) return {"", devices, "asked for by UCX_NET_DEVICES"};
  if (std::any_of(nodes.begin(), nodes.end(), [](const HostNetworks& one) { return one.rdma; })) {
    return {"", "left to UCX", "there are RDMA devices; --nic names one"};
  }
  if (one_node) return {"lo", "lo", "there is one node"};
  std::vector<std::vector<Interface>> interfaces;
  interfaces.reserve(nodes.size());
  for (const HostNetworks& one : nodes) interfaces.push_back(one.interfaces);
  const auto shared = shared_interfaces(interfaces, nodes.front().host_address);
  if (shared.empty()) {
    return {"", "left to UCX and MPI",
            "no network has an address on every node; --nic names an interface"};
  }
  const Interface& own = *shared.at(node);
  return {own.name, fmt::format("{}, {}", own.name, own.subnet()),
          "joins all nodes; --nic names another"};
}

}  // namespace spd
