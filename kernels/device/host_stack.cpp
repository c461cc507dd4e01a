#include "kernels/device/host_stack.h"

#include <pthread.h>

#include <algorithm>
#include <cstdint>

namespace spd {
namespace {

struct Bounds {
  std::uintptr_t lowest = 0;
  std::size_t size = 0;
};

// Not by the address of a local: sanitizers put locals elsewhere.
std::uintptr_t this_frame() { return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)); }

Bounds find_bounds() {
  constexpr std::size_t kSmall = std::size_t{256} << 10;
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void* lowest = nullptr;
    std::size_t size = 0;
    const int status = pthread_attr_getstack(&attributes, &lowest, &size);
    pthread_attr_destroy(&attributes);
    if (status == 0 && size > 0) return {reinterpret_cast<std::uintptr_t>(lowest), size};
  }
  const std::uintptr_t here = this_frame();
  return {here - std::min<std::uintptr_t>(here, kSmall), kSmall};
}

}  // namespace

HostStack host_stack() {
  thread_local const Bounds bounds = find_bounds();
  const std::uintptr_t here = this_frame();
  return {bounds.size, here > bounds.lowest ? here - bounds.lowest : 0};
}

}  // namespace spd
