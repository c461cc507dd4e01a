// NVML of machines that are not here, by SPD_FAKE_GPUS:
//   switched  8 GPUs, 18 NVLinks each, all to a switch; PCIe paths PIX, NODE and SYS
//   bridged   4 GPUs, pairs (0,1) and (2,3) joined by 4 NVLinks; 2 and 3 have two links that are
//   down pcie      2 GPUs without NVLink and without peer access, behind one host bridge refused a
//   driver that does not start
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;
constexpr int kUninitialized = 1;

std::string machine() {
  const char* name = std::getenv("SPD_FAKE_GPUS");
  return name ? name : "";
}

unsigned gpus() {
  if (machine() == "switched") return 8;
  if (machine() == "bridged") return 4;
  return machine() == "pcie" ? 2 : 0;
}

std::array<int, 8> devices{};  // whose addresses are the handles
unsigned index_of(const void* device) {
  return static_cast<unsigned>(static_cast<const int*>(device) - devices.data());
}

struct PciInfo {
  char legacy_address[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char address[32];
};
void fill(unsigned index, PciInfo* info) {
  info->bus = 16 + index;
  std::snprintf(info->address, sizeof info->address, "00000000:%02X:00.0", info->bus);
}

}  // namespace

extern "C" {
// NOLINTBEGIN(readability-identifier-naming): NVML's own names

int nvmlInit_v2() { return machine() == "refused" ? 9 : kSuccess; }
int nvmlShutdown() { return kSuccess; }

int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = gpus();
  return kSuccess;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= gpus()) return kUninitialized;
  *device = &devices[index];
  return kSuccess;
}
int nvmlDeviceGetName(void*, char* name, unsigned length) {
  std::snprintf(name, length, "Fake GPU");
  return kSuccess;
}
int nvmlDeviceGetPciInfo_v3(void* device, PciInfo* info) {
  fill(index_of(device), info);
  return kSuccess;
}
int nvmlDeviceGetMemoryInfo(void*, unsigned long long* total_free_used) {
  total_free_used[0] = 80ull << 30;
  return kSuccess;
}
int nvmlDeviceGetNvLinkState(void* device, unsigned link, int* active) {
  if (machine() == "pcie") return kNotSupported;
  if (machine() == "switched") {
    *active = link < 18;
  } else {
    *active = link < 4;
    if (index_of(device) < 2 && link >= 4) return kNotSupported;
  }
  return kSuccess;
}
int nvmlDeviceGetNvLinkRemoteDeviceType(void*, unsigned, int* kind) {
  *kind = machine() == "switched" ? 2 : 0;
  return kSuccess;
}
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void* device, unsigned, PciInfo* info) {
  fill(index_of(device) ^ 1, info);
  return kSuccess;
}
int nvmlDeviceGetTopologyCommonAncestor(void* first, void* second, int* level) {
  const unsigned a = index_of(first);
  const unsigned b = index_of(second);
  *level = a / 2 == b / 2 ? 10 : (a / 4 == b / 4 ? 40 : 50);
  if (machine() == "pcie") *level = 30;
  return kSuccess;
}
int nvmlDeviceGetP2PStatus(void*, void*, int, int* status) {
  *status = machine() == "pcie" ? 1 : 0;
  return kSuccess;
}

// NOLINTEND(readability-identifier-naming)
}  // extern "C"
