#include "comm/network.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

namespace spd {

namespace {

constexpr const char* kTcpInclude = "OMPI_MCA_btl_tcp_if_include";
constexpr const char* kTcpExclude = "OMPI_MCA_btl_tcp_if_exclude";

std::uint32_t address_of(const sockaddr* address) {
  sockaddr_in ipv4{};
  std::memcpy(&ipv4, address, sizeof ipv4);
  return ntohl(ipv4.sin_addr.s_addr);
}

struct Network {
  std::uint32_t address = 0;
  std::uint32_t mask = 0;
};

std::optional<Network> parse_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  in_addr address{};
  if (inet_pton(AF_INET, std::string(text.substr(0, slash)).c_str(), &address) != 1) {
    return std::nullopt;
  }
  unsigned bits = 0;
  const auto read = std::from_chars(text.data() + slash + 1, text.data() + text.size(), bits);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || bits > 32) {
    return std::nullopt;
  }
  const std::uint32_t mask = bits == 0 ? 0 : ~std::uint32_t{0} << (32 - bits);
  return Network{ntohl(address.s_addr) & mask, mask};
}

bool same_network(const Interface& a, const Interface& b) {
  return a.mask == b.mask && (a.address & a.mask) == (b.address & b.mask);
}

}  // namespace

std::string address_text(std::uint32_t address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255,
                     address & 255);
}

std::string Interface::subnet() const {
  return fmt::format("{}/{}", address_text(address & mask), std::popcount(mask));
}

std::vector<Interface> ipv4_interfaces() {
  ifaddrs* raw = nullptr;
  if (getifaddrs(&raw) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> all(raw, freeifaddrs);
  std::vector<Interface> interfaces;
  for (const ifaddrs* one = all.get(); one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET ||
        one->ifa_netmask == nullptr || (one->ifa_flags & IFF_UP) == 0 ||
        (one->ifa_flags & IFF_LOOPBACK) != 0) {
      continue;
    }
    Interface interface;
    std::strncpy(interface.name, one->ifa_name, sizeof interface.name - 1);
    interface.address = address_of(one->ifa_addr);
    interface.mask = address_of(one->ifa_netmask);
    const std::filesystem::path sysfs = std::string("/sys/class/net/") + interface.name;
    double megabits = 0;
    if (std::ifstream(sysfs / "speed") >> megabits && megabits > 0) {
      interface.gbit_per_s = static_cast<float>(megabits / 1000);
    }
    std::error_code error;
    interface.is_bridge = std::filesystem::exists(sysfs / "bridge", error);
    interfaces.push_back(interface);
  }
  return interfaces;
}

std::optional<std::uint32_t> address_of_host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return std::nullopt;
  addrinfo hints{};
  hints.ai_family = AF_INET;
  addrinfo* raw = nullptr;
  if (getaddrinfo(name.data(), nullptr, &hints, &raw) != 0 || raw == nullptr) return std::nullopt;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> found(raw, freeaddrinfo);
  return address_of(found->ai_addr);
}

const Interface* find_interface(std::span<const Interface> interfaces, std::string_view wanted) {
  const auto network = parse_network(wanted);
  const auto at = std::find_if(interfaces.begin(), interfaces.end(), [&](const Interface& one) {
    return network ? (one.address & network->mask) == network->address : wanted == one.name;
  });
  return at == interfaces.end() ? nullptr : &*at;
}

const Interface* likely_interface(std::span<const Interface> interfaces,
                                  std::optional<std::uint32_t> host_address) {
  if (interfaces.size() == 1) return interfaces.data();
  const Interface* only = nullptr;
  int others = 0;
  for (const Interface& interface : interfaces) {
    if (host_address == interface.address) return &interface;
    if (!interface.is_bridge) only = ++others == 1 ? &interface : nullptr;
  }
  return others == 1 ? only : nullptr;
}

std::vector<const Interface*> shared_interfaces(std::span<const std::vector<Interface>> nodes,
                                                std::optional<std::uint32_t> host_address) {
  std::vector<const Interface*> best;
  double best_speed = -1;
  for (const Interface& candidate : nodes.front()) {
    std::vector<const Interface*> members;
    float speed = candidate.gbit_per_s;
    for (const std::vector<Interface>& node : nodes) {
      // An address that two nodes have is of a network within each (docker's).
      const auto at = std::find_if(node.begin(), node.end(), [&](const Interface& one) {
        return same_network(one, candidate) &&
               std::none_of(members.begin(), members.end(),
                            [&](const Interface* other) { return other->address == one.address; });
      });
      if (at == node.end()) break;
      members.push_back(&*at);
      speed = std::min(speed, at->gbit_per_s);
    }
    if (members.size() != nodes.size()) continue;
    if (speed < best_speed) continue;
    if (speed == best_speed && host_address != candidate.address) continue;
    best = std::move(members);
    best_speed = speed;
  }
  return best;
}

MpiNetwork choose_for_mpi(std::string_view nic, const Variables& variables,
                          std::span<const Interface> interfaces,
                          std::optional<std::uint32_t> (*host_address)()) {
  MpiNetwork network{.one_node = all_on_this_node(variables)};
  if (network.one_node) return network;
  const Interface* chosen = nullptr;
  const char* included = variables(kTcpInclude);
  if (!nic.empty()) {
    chosen = find_interface(interfaces, nic);
  } else if (included != nullptr) {
    chosen = find_interface(interfaces, included);
  } else if (variables(kTcpExclude) == nullptr) {
    chosen = likely_interface(interfaces, std::nullopt);
    // Asked only where needed: a name server may be slow to answer.
    if (chosen == nullptr) chosen = likely_interface(interfaces, host_address());
  }
  if (chosen != nullptr) network.interface = *chosen;
  return network;
}

void tell_open_mpi(const MpiNetwork& network, std::string_view nic, bool rdma,
                   const Variables& variables) {
  const auto set = [](const char* name, const std::string& value) {
    setenv(name, value.c_str(), 0);
  };
  if (started_alone(variables)) set("OMPI_MCA_ess_singleton_isolated", "1");
  const bool untouched =
      variables("OMPI_MCA_pml") == nullptr && variables("OMPI_MCA_btl") == nullptr;
  if (untouched && (network.one_node || !rdma)) {
    set("OMPI_MCA_pml", "ob1");
    set("OMPI_MCA_btl", network.one_node ? "self,vader" : "self,vader,tcp");
  }
  if (network.one_node || !network.interface) return;
  if (!nic.empty()) unsetenv(kTcpInclude);
  set(kTcpInclude, network.interface->subnet());
  set("OMPI_MCA_btl_tcp_disable_family", "6");
}

}  // namespace spd
