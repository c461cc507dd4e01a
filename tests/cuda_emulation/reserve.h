// Address space that costs memory only where it is touched.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace cuda_emulation {

/// Zeros for `count` of T. Never given back.
template <class T>
T* reserve(std::size_t count) {
  void* memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<T*>(memory);
}

}  // namespace cuda_emulation
