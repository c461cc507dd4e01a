#include "comm/network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "comm/listen_address.h"

namespace spd {
namespace {

constexpr std::uint32_t address(unsigned a, unsigned b, unsigned c, unsigned d) {
  return a << 24 | b << 16 | c << 8 | d;
}

Interface interface(const char* name, std::uint32_t own, float gbit = 0, bool bridge = false) {
  Interface made;
  std::strncpy(made.name, name, sizeof made.name - 1);
  made.address = own;
  made.mask = address(255, 255, 255, 0);
  made.gbit_per_s = gbit;
  made.is_bridge = bridge;
  return made;
}

using Node = std::vector<Interface>;

const Node& two_networks() {
  static const Node node{interface("eth0", address(10, 77, 0, 1), 10),
                         interface("eth1", address(10, 78, 0, 1), 10)};
  return node;
}

TEST(Network, IsFoundByNameOrAddress) {
  const Node& node = two_networks();
  EXPECT_EQ(node[0].subnet(), "10.77.0.0/24");
  EXPECT_EQ(find_interface(node, "eth1"), &node[1]);
  EXPECT_EQ(find_interface(node, "10.78.0.0/24"), &node[1]);
  EXPECT_EQ(find_interface(node, "10.0.0.0/8"), &node[0]);
  EXPECT_EQ(find_interface(node, "0.0.0.0/0"), &node[0]);
  for (const char* wrong : {"eth", "", "10.79.0.0/24", "10.77.0.0/33", "10.77.0.0/", "10.77/24"}) {
    EXPECT_EQ(find_interface(node, wrong), nullptr) << wrong;
  }
}

TEST(Network, OfOneHostIsTheOnlyOneOrThatOfItsName) {
  const Node& two = two_networks();
  EXPECT_EQ(likely_interface(two, std::nullopt), nullptr);
  EXPECT_EQ(likely_interface(two, address(10, 78, 0, 1)), &two[1]);
  EXPECT_EQ(likely_interface(two, address(127, 0, 1, 1)), nullptr);
  const Node one{two[0]};
  EXPECT_EQ(likely_interface(one, std::nullopt), one.data());
  const Node docker{interface("docker0", address(172, 17, 0, 1), 0, true), two[0]};
  EXPECT_EQ(likely_interface(docker, std::nullopt), &docker[1]);
  EXPECT_EQ(likely_interface(Node{}, std::nullopt), nullptr);
}

TEST(Network, OfAJobJoinsAllNodes) {
  const auto named = [](const std::vector<Node>& nodes, std::optional<std::uint32_t> host = {}) {
    std::string names;
    for (const Interface* one : shared_interfaces(nodes, host))
      names += std::string(one->name) + " ";
    return names;
  };
  const Node other{interface("ens5", address(10, 78, 0, 2), 10),
                   interface("ens6", address(10, 77, 0, 2), 10)};
  EXPECT_EQ(named({two_networks(), other}), "eth0 ens6 ") << "the first of two alike";
  EXPECT_EQ(named({two_networks(), other}, address(10, 78, 0, 1)), "eth1 ens5 ");
  Node fast = other;
  fast[0].gbit_per_s = 25;
  EXPECT_EQ(named({two_networks(), fast}), "eth0 ens6 ") << "as fast as the slower end";
  Node both = two_networks();
  both[1].gbit_per_s = 100;
  EXPECT_EQ(named({both, fast}), "eth1 ens5 ");
  EXPECT_EQ(named({two_networks(), {interface("eth0", address(10, 99, 0, 2))}}), "");
  const Node docker{interface("docker0", address(172, 17, 0, 1), 0, true)};
  EXPECT_EQ(named({docker, docker}), "") << "one address on two nodes";
}

std::optional<std::uint32_t> second_address() { return address(10, 78, 0, 1); }

TEST(Network, OfMpiIsTheFlagsThenTheUsersThenTheLikelyOne) {
  std::map<std::string, std::string> environment{{"OMPI_COMM_WORLD_SIZE", "4"},
                                                 {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
  const Variables variables = [&](const char* name) -> const char* {
    const auto at = environment.find(name);
    return at == environment.end() ? nullptr : at->second.c_str();
  };
  const auto chosen = [&](const char* nic) {
    const auto network = choose_for_mpi(nic, variables, two_networks(), second_address);
    return network.interface ? std::string(network.interface->name) : "none";
  };
  EXPECT_EQ(chosen(""), "eth1");
  environment["OMPI_MCA_btl_tcp_if_include"] = "10.77.0.0/24";
  EXPECT_EQ(chosen(""), "eth0");
  EXPECT_EQ(chosen("eth1"), "eth1");
  EXPECT_EQ(chosen("mlx5_0:1"), "none");
  environment["OMPI_MCA_btl_tcp_if_include"] = "eth0,eth1";
  EXPECT_EQ(chosen(""), "none") << "left to MPI, which listens on both";
  environment.erase("OMPI_MCA_btl_tcp_if_include");
  environment["OMPI_MCA_btl_tcp_if_exclude"] = "lo";
  EXPECT_EQ(chosen(""), "none");
  environment["OMPI_COMM_WORLD_LOCAL_SIZE"] = "4";
  EXPECT_TRUE(choose_for_mpi("", variables, two_networks(), second_address).one_node);
}

TEST(Network, OpenMpiIsToldWhatTheUserHasNotSaid) {
  const Variables variables = [](const char* name) -> const char* { return std::getenv(name); };
  constexpr const char* kNames[] = {"OMPI_MCA_pml", "OMPI_MCA_btl", "OMPI_MCA_btl_tcp_if_include",
                                    "OMPI_MCA_btl_tcp_disable_family",
                                    "OMPI_MCA_ess_singleton_isolated"};
  const auto forget = [&] {
    for (const char* name : kNames) unsetenv(name);
  };
  forget();
  tell_open_mpi({.one_node = true}, "", false, variables);
  EXPECT_STREQ(variables("OMPI_MCA_btl"), "self,vader");
  EXPECT_EQ(variables("OMPI_MCA_btl_tcp_if_include"), nullptr);
  forget();
  const MpiNetwork network{.one_node = false, .interface = two_networks()[1]};
  tell_open_mpi(network, "", false, variables);
  EXPECT_STREQ(variables("OMPI_MCA_btl"), "self,vader,tcp");
  EXPECT_STREQ(variables("OMPI_MCA_btl_tcp_if_include"), "10.78.0.0/24");
  forget();
  tell_open_mpi(network, "", true, variables);
  EXPECT_EQ(variables("OMPI_MCA_pml"), nullptr) << "RDMA may go another way";
  forget();
  setenv("OMPI_MCA_pml", "ucx", 1);
  setenv("OMPI_MCA_btl_tcp_if_include", "eth0", 1);
  tell_open_mpi(network, "", false, variables);
  EXPECT_EQ(variables("OMPI_MCA_btl"), nullptr);
  EXPECT_STREQ(variables("OMPI_MCA_btl_tcp_if_include"), "eth0");
  tell_open_mpi(network, "eth1", false, variables);
  EXPECT_STREQ(variables("OMPI_MCA_btl_tcp_if_include"), "10.78.0.0/24");
  forget();
}

/// What a TCP socket that asks for every address gets.
std::uint32_t bound_to() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  EXPECT_EQ(bind(socket, reinterpret_cast<const sockaddr*>(&any), sizeof any), 0);
  sockaddr_in got{};
  socklen_t length = sizeof got;
  EXPECT_EQ(getsockname(socket, reinterpret_cast<sockaddr*>(&got), &length), 0);
  close(socket);
  return ntohl(got.sin_addr.s_addr);
}

TEST(ListenAddress, TakesThePlaceOfEveryAddressWhileItLives) {
  EXPECT_EQ(bound_to(), INADDR_ANY);
  {
    const ListenAddress listen(INADDR_LOOPBACK);
    EXPECT_EQ(bound_to(), INADDR_LOOPBACK);
  }
  EXPECT_EQ(bound_to(), INADDR_ANY);
}

}  // namespace
}  // namespace spd
