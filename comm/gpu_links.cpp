#include "comm/gpu_links.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

namespace spd {
namespace {

// The part of NVML's binary interface that is used here.
using Device = struct NvmlDevice*;
constexpr int kSuccess = 0;
constexpr int kLinkActive = 1;
constexpr int kRemoteSwitch = 2;  // what an NVLink's other end may be; a GPU is 0
constexpr int kPeerRead = 0;
constexpr int kPeerOk = 0;
constexpr unsigned kMostLinks = 36;
struct PciInfo {
  std::array<char, 16> legacy_address;
  unsigned domain, bus, device, device_id, subsystem_id;
  std::array<char, 32> address;
};
struct Memory {
  unsigned long long total, free, used;
};

/// The library's functions by name; each call gives false where the function is missing or fails.
class Nvml {
 public:
  explicit Nvml(const char* library) : handle_(dlopen(library, RTLD_NOW | RTLD_LOCAL), &close) {}
  explicit operator bool() const { return handle_ != nullptr; }

  template <class... Arguments>
  bool call(const char* function, Arguments... arguments) const {
    using Function = int (*)(Arguments...);
    const auto found = reinterpret_cast<Function>(dlsym(handle_.get(), function));
    return found != nullptr && found(arguments...) == kSuccess;
  }

 private:
  static void close(void* handle) {
    if (handle) dlclose(handle);
  }
  std::unique_ptr<void, void (*)(void*)> handle_;
};

/// Where the active NVLinks of a GPU lead to.
struct Ends {
  std::multiset<std::string> gpus;  // by PCI address
  int switches = 0;
};

std::string address_of(const PciInfo& pci) {
  return {pci.address.begin(), std::find(pci.address.begin(), pci.address.end(), '\0')};
}

Ends link_ends(const Nvml& nvml, Device device) {
  Ends ends;
  for (unsigned link = 0; link < kMostLinks; ++link) {
    int active = 0;
    if (!nvml.call("nvmlDeviceGetNvLinkState", device, link, &active) || active != kLinkActive) {
      continue;
    }
    int kind = 0;
    PciInfo remote{};
    if (nvml.call("nvmlDeviceGetNvLinkRemoteDeviceType", device, link, &kind) &&
        kind == kRemoteSwitch) {
      ++ends.switches;
    } else if (nvml.call("nvmlDeviceGetNvLinkRemotePciInfo_v2", device, link, &remote)) {
      ends.gpus.insert(address_of(remote));
    }
  }
  return ends;
}

std::string pcie_path(const Nvml& nvml, Device first, Device second) {
  int level = -1;
  if (!nvml.call("nvmlDeviceGetTopologyCommonAncestor", first, second, &level)) return "?";
  switch (level) {
    case 0:
      return "same board";
    case 10:
      return "PIX";
    case 20:
      return "PXB";
    case 30:
      return "PHB";
    case 40:
      return "NODE";
    case 50:
      return "SYS";
    default:
      return "?";
  }
}

bool peer_access(const Nvml& nvml, Device first, Device second) {
  int status = -1;
  return nvml.call("nvmlDeviceGetP2PStatus", first, second, kPeerRead, &status) &&
         status == kPeerOk;
}

void describe(const Nvml& nvml, unsigned count, GpuLinks& links) {
  std::vector<Device> devices;
  std::vector<Ends> ends;
  for (unsigned index = 0; index < count; ++index) {
    Device device = nullptr;
    // A GPU may be there and refused (another user's, in a container): it is not ours to use.
    if (!nvml.call("nvmlDeviceGetHandleByIndex_v2", index, &device)) continue;
    std::array<char, 96> name{};
    PciInfo pci{};
    Memory memory{};
    nvml.call("nvmlDeviceGetName", device, name.data(), static_cast<unsigned>(name.size()));
    nvml.call("nvmlDeviceGetPciInfo_v3", device, &pci);
    nvml.call("nvmlDeviceGetMemoryInfo", device, &memory);
    links.gpus.push_back({name.data(), address_of(pci), static_cast<std::int64_t>(memory.total)});
    devices.push_back(device);
    ends.push_back(link_ends(nvml, device));
  }
  for (std::size_t a = 0; a < devices.size(); ++a) {
    for (std::size_t b = a + 1; b < devices.size(); ++b) {
      const auto straight = static_cast<int>(ends[a].gpus.count(links.gpus[b].pci_address));
      const int switched = std::min(ends[a].switches, ends[b].switches);
      links.pairs.push_back({static_cast<int>(a), static_cast<int>(b), straight + switched,
                             pcie_path(nvml, devices[a], devices[b]),
                             peer_access(nvml, devices[a], devices[b])});
    }
  }
}

}  // namespace

GpuLinks discover_gpus(const char* library) {
  GpuLinks links;
  const Nvml nvml(library);
  unsigned count = 0;
  if (!nvml) {
    links.absent = fmt::format("no {}: no NVIDIA driver", library);
  } else if (!nvml.call("nvmlInit_v2")) {
    links.absent = fmt::format("{} does not start: the driver is not loaded", library);
  } else {
    if (nvml.call("nvmlDeviceGetCount_v2", &count)) describe(nvml, count, links);
    if (links.gpus.empty()) links.absent = "the NVIDIA driver shows no GPU to this process";
    nvml.call("nvmlShutdown");
  }
  return links;
}

}  // namespace spd
