#include "comm/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "comm/backoff.h"
#include "tests/model/temp_dir.h"

namespace spd {
namespace {

using testing::HasSubstr;

GpuLinks fake(const char* machine) {
  setenv("SPD_FAKE_GPUS", machine, 1);
  return discover_gpus(FAKE_NVML);
}

const GpuPair& pair_of(const GpuLinks& links, int first, int second) {
  for (const GpuPair& pair : links.pairs) {
    if (pair.first == first && pair.second == second) return pair;
  }
  throw std::runtime_error("no such pair");
}

TEST(Gpus, EightBehindAnNvSwitch) {
  const GpuLinks links = fake("switched");
  ASSERT_EQ(links.gpus.size(), 8u);
  EXPECT_EQ(links.pairs.size(), 28u);
  EXPECT_EQ(links.gpus[3].name, "Fake GPU");
  EXPECT_EQ(links.gpus[3].pci_address, "00000000:13:00.0");
  EXPECT_EQ(links.gpus[3].memory_bytes, 80ll << 30);
  for (const GpuPair& pair : links.pairs) {
    EXPECT_EQ(pair.nvlinks, 18);
    EXPECT_TRUE(pair.peer_access);
  }
  EXPECT_EQ(pair_of(links, 0, 1).pcie, "PIX");
  EXPECT_EQ(pair_of(links, 0, 2).pcie, "NODE");
  EXPECT_EQ(pair_of(links, 0, 7).pcie, "SYS");
  EXPECT_EQ(links.absent, "");
}

TEST(Gpus, PairsJoinedByBridges) {
  const GpuLinks links = fake("bridged");
  ASSERT_EQ(links.gpus.size(), 4u);
  EXPECT_EQ(pair_of(links, 0, 1).nvlinks, 4);
  EXPECT_EQ(pair_of(links, 2, 3).nvlinks, 4);
  EXPECT_EQ(pair_of(links, 1, 2).nvlinks, 0);
}

TEST(Gpus, WithoutNvLinkAndPeerAccess) {
  const GpuLinks links = fake("pcie");
  ASSERT_EQ(links.pairs.size(), 1u);
  EXPECT_EQ(links.pairs[0].nvlinks, 0);
  EXPECT_EQ(links.pairs[0].pcie, "PHB");
  EXPECT_FALSE(links.pairs[0].peer_access);
}

TEST(Gpus, AbsentWithoutHarm) {
  EXPECT_THAT(discover_gpus("libno-such-nvml.so").absent, HasSubstr("no NVIDIA driver"));
  EXPECT_THAT(fake("refused").absent, HasSubstr("does not start"));
  EXPECT_THAT(fake("none").absent, HasSubstr("shows no GPU"));
  // A library that has none of NVML's functions.
  EXPECT_FALSE(discover_gpus("libm.so.6").absent.empty());
}

class Sysfs {
 public:
  void file(const std::string& path, const std::string& content) {
    std::filesystem::create_directories((dir_.path() / path).parent_path());
    std::ofstream(dir_.path() / path) << content << "\n";
  }
  void interface(const std::string& name, const char* type, const char* state, const char* speed) {
    file("class/net/" + name + "/type", type);
    file("class/net/" + name + "/operstate", state);
    file("class/net/" + name + "/speed", speed);
  }
  std::vector<Nic> nics() const { return discover_nics(dir_.path()); }

 private:
  TempDir dir_;
};

TEST(Nics, ThoseThatCouldCarryMessages) {
  Sysfs sysfs;
  sysfs.interface("lo", "772", "unknown", "");
  sysfs.interface("eth0", "1", "up", "25000");
  sysfs.file("class/net/eth0/device/numa_node", "1");
  sysfs.file("class/net/eth0/mtu", "9000");
  sysfs.interface("eth1", "1", "down", "1000");
  sysfs.interface("veth", "1", "up", "-1");
  sysfs.interface("br0", "1", "up", "10000");
  sysfs.file("class/net/br0/bridge/bridge_id", "8000");
  const auto nics = sysfs.nics();
  ASSERT_EQ(nics.size(), 2u);
  EXPECT_EQ(nics[0].name, "eth0");
  EXPECT_EQ(nics[0].gbit_per_s, 25.0);
  EXPECT_EQ(nics[0].numa_node, 1);
  EXPECT_EQ(nics[0].mtu_bytes, 9000);
  EXPECT_EQ(nics[1].name, "veth");
  EXPECT_EQ(nics[1].gbit_per_s, std::nullopt);
  EXPECT_EQ(nics[1].numa_node, std::nullopt);
  EXPECT_EQ(nics[1].mtu_bytes, std::nullopt);
}

TEST(Nics, HowManyJoinTheNodes) {
  const std::vector<Nic> ethernet{{"eth0", "ethernet", 25.0, 0}, {"eth1", "ethernet", 25.0, 1}};
  std::vector<Nic> both = ethernet;
  both.push_back({"mlx5_0:1", "infiniband", 200.0, 0});
  struct Case {
    const std::vector<Nic>& nics;
    const char* allowed;
    int expected;
  };
  const std::vector<Nic> none;
  for (const Case& c :
       {Case{ethernet, nullptr, 2}, Case{ethernet, "all", 2}, Case{ethernet, "", 2},
        Case{ethernet, "eth1", 1}, Case{ethernet, "eth0,eth1", 2}, Case{ethernet, "eth", 1},
        Case{both, nullptr, 1}, Case{both, "eth0,eth1", 2}, Case{both, "eth0,mlx5_0:1", 1},
        Case{none, nullptr, 1}}) {
    EXPECT_EQ(networks_between_nodes(c.nics, c.allowed), c.expected)
        << (c.allowed ? c.allowed : "unset");
  }
}

TEST(Nics, InfiniBandPorts) {
  Sysfs sysfs;
  sysfs.file("class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE");
  sysfs.file("class/infiniband/mlx5_0/ports/1/link_layer", "InfiniBand");
  sysfs.file("class/infiniband/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)");
  sysfs.file("class/infiniband/mlx5_0/device/numa_node", "0");
  sysfs.file("class/infiniband/mlx5_1/ports/1/state", "1: DOWN");
  sysfs.file("class/infiniband/mlx5_1/ports/1/link_layer", "InfiniBand");
  sysfs.file("class/infiniband/mlx5_2/ports/1/state", "4: ACTIVE");
  sysfs.file("class/infiniband/mlx5_2/ports/1/link_layer", "Ethernet");
  const auto nics = sysfs.nics();
  ASSERT_EQ(nics.size(), 1u);
  EXPECT_EQ(nics[0].name, "mlx5_0:1");
  EXPECT_EQ(nics[0].kind, "infiniband");
  EXPECT_EQ(nics[0].gbit_per_s, 400.0);
  EXPECT_EQ(nics[0].numa_node, 0);
}

TEST(Machine, ThisOne) {
  const Machine machine = discover_machine();
  EXPECT_GE(machine.cores, machine.usable_cores);
  EXPECT_GE(machine.usable_cores, 1);
  EXPECT_LE(machine.usable_cores, usable_cores());
  EXPECT_GE(machine.numa_nodes, 1);
  EXPECT_FALSE(machine.numa_of_this_process.empty());
  EXPECT_GT(machine.memory_bytes, 1 << 28);
}

}  // namespace
}  // namespace spd
