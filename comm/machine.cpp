#include "comm/machine.h"

#include <hwloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>

namespace spd {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

std::optional<double> number_at_start(const std::string& text) {
  try {
    return std::stod(text);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::optional<int> numa_node_of(const fs::path& device) {
  const auto node = number_at_start(first_line(device / "numa_node"));
  return node && *node >= 0 ? std::optional<int>(static_cast<int>(*node)) : std::nullopt;
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

void add_ethernet(const fs::path& sysfs, std::vector<Nic>& nics) {
  constexpr const char* kEthernet = "1";  // ARPHRD_ETHER
  for (const fs::path& interface : entries(sysfs / "class/net")) {
    if (first_line(interface / "type") != kEthernet || fs::exists(interface / "bridge") ||
        first_line(interface / "operstate") != "up") {
      continue;
    }
    auto speed = number_at_start(first_line(interface / "speed"));  // Mbit/s, -1: unknown
    if (speed && *speed <= 0) speed.reset();
    if (speed) *speed /= 1000;
    Nic nic{interface.filename(), "ethernet", speed, numa_node_of(interface / "device")};
    if (const auto mtu = number_at_start(first_line(interface / "mtu"))) {
      nic.mtu_bytes = static_cast<int>(*mtu);
    }
    nics.push_back(std::move(nic));
  }
}

void add_infiniband(const fs::path& sysfs, std::vector<Nic>& nics) {
  for (const fs::path& adapter : entries(sysfs / "class/infiniband")) {
    for (const fs::path& port : entries(adapter / "ports")) {
      if (first_line(port / "state").find("ACTIVE") == std::string::npos) continue;
      if (first_line(port / "link_layer") == "Ethernet") continue;  // listed by its interface
      // "400 Gb/sec (4X NDR)"
      nics.push_back({adapter.filename().string() + ":" + port.filename().string(), "infiniband",
                      number_at_start(first_line(port / "rate")),
                      numa_node_of(adapter / "device")});
    }
  }
}

void add_cores(Machine& machine) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return;
  const std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)> topology(
      raw, hwloc_topology_destroy);
  if (hwloc_topology_load(raw) != 0) return;
  const std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)> bound(hwloc_bitmap_alloc(),
                                                                            hwloc_bitmap_free);
  if (hwloc_get_cpubind(raw, bound.get(), HWLOC_CPUBIND_PROCESS) != 0) {
    hwloc_bitmap_copy(bound.get(), hwloc_topology_get_topology_cpuset(raw));
  }
  machine.cores = std::max(hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_CORE), 0);
  for (int i = 0; i < machine.cores; ++i) {
    const hwloc_obj_t core = hwloc_get_obj_by_type(raw, HWLOC_OBJ_CORE, i);
    if (hwloc_bitmap_intersects(core->cpuset, bound.get())) ++machine.usable_cores;
  }
  // hwloc adds up what NUMA nodes say, which leaves out memory that was plugged in later.
  machine.memory_bytes = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  machine.numa_nodes = hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_NUMANODE);
  for (int i = 0; i < machine.numa_nodes; ++i) {
    const hwloc_obj_t node = hwloc_get_obj_by_type(raw, HWLOC_OBJ_NUMANODE, i);
    if (hwloc_bitmap_intersects(node->cpuset, bound.get())) {
      machine.numa_of_this_process.push_back(static_cast<int>(node->os_index));
    }
  }
  const char* cpu = nullptr;
  if (const hwloc_obj_t package = hwloc_get_obj_by_type(raw, HWLOC_OBJ_PACKAGE, 0)) {
    cpu = hwloc_obj_get_info_by_name(package, "CPUModel");
  }
  machine.cpu = cpu ? cpu : "unknown";
}

}  // namespace

std::vector<Nic> discover_nics(const fs::path& sysfs) {
  std::vector<Nic> nics;
  add_ethernet(sysfs, nics);
  add_infiniband(sysfs, nics);
  return nics;
}

bool has_rdma() { return !entries("/sys/class/infiniband").empty(); }

bool has_rdma(const std::string& device) {
  const std::string name = device.substr(0, device.find(':'));
  const std::vector<fs::path> devices = entries("/sys/class/infiniband");
  return std::any_of(devices.begin(), devices.end(),
                     [&](const fs::path& one) { return one.filename() == name; });
}

int networks_between_nodes(const std::vector<Nic>& nics, const char* allowed) {
  const std::string list = allowed == nullptr ? "" : allowed;
  const auto usable = [&](const Nic& nic) {
    return list.empty() || list == "all" ||
           ("," + list + ",").find("," + nic.name + ",") != std::string::npos;
  };
  const auto count = [&](const char* kind) {
    return static_cast<int>(std::count_if(
        nics.begin(), nics.end(), [&](const Nic& nic) { return nic.kind == kind && usable(nic); }));
  };
  const int infiniband = count("infiniband");
  return std::max(1, infiniband > 0 ? infiniband : count("ethernet"));
}

Machine discover_machine() {
  Machine machine;
  add_cores(machine);
  machine.nics = discover_nics();
  machine.gpus = discover_gpus();
  return machine;
}

}  // namespace spd
