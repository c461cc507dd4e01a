// Checks of accesses to global memory: bounds, who else touches it at the same time, bytes moved.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_emulation {

struct Operation;

/// Whether kernels were compiled with access hooks; set by the hooks themselves.
bool accesses_checked();
void set_accesses_checked();

/// Bits of `count` bytes of a word from byte `first` on.
inline std::uint8_t byte_bits(std::size_t first, std::size_t count) {
  return static_cast<std::uint8_t>(((1u << count) - 1) << first);
}

/// An allocation begins and ends.
void open_global(const void* address, std::size_t bytes);
void close_global(const void* address, std::size_t bytes);

/// What the running thread does, to any address: host memory is nobody's concern.
void note_access(const void* address, std::size_t bytes, bool write, const void* pc);
/// The same for an indivisible operation, which races with nobody.
void note_atomic(const void* address, std::size_t bytes);
/// What a copy, a fill or a library does to a range.
void note_range(Operation& op, const void* address, std::size_t bytes, bool write);

/// "gemv: load of 4 bytes: out of bounds (thread 3 of block 7, pc 0x1234)".
void report_access(const char* wrong, std::size_t bytes, bool write, const void* pc);

/// Tells the checks that an operation exists.
void introduce(const Operation& op);

}  // namespace cuda_emulation
