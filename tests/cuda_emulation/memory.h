// Memory of the emulated devices: one range of addresses, so that an address tells what it is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_emulation {

inline constexpr std::size_t kDeviceSpan = std::size_t{16} << 30;
inline constexpr int kMostDevices = 8;

bool is_device_memory(const void* address);
/// Bytes from the first device's first address; only of device memory.
std::size_t device_offset(const void* address);
inline int device_at(std::size_t offset) { return static_cast<int>(offset / kDeviceSpan); }

/// 256-byte aligned, filled with NaN. Null: there is no room.
void* allocate_device(int device, std::size_t bytes);
/// False: nothing begins there.
bool free_device(void* address);
std::size_t used_memory(int device);
/// Where [address, address + bytes) is in use by one allocation.
bool is_allocated(const void* address, std::size_t bytes);

/// While one exists, device memory can be touched; otherwise, where Options ask for it, it cannot.
class OpenMemory {
 public:
  OpenMemory();
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;
  ~OpenMemory();
};
/// As Options say now.
void guard_memory();

void* allocate_pinned(std::size_t bytes);
bool free_pinned(void* address);
bool is_pinned(const void* address);

}  // namespace cuda_emulation
