// The functions that a compiler calls for each access with -fsanitize=thread, and for each
// misaligned pointer with -fsanitize=alignment: ours, in place of the sanitizers' own libraries.
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tests/cuda_emulation/access.h"
#include "tests/cuda_emulation/report.h"

using cuda_emulation::note_access;

// NOLINTBEGIN(readability-identifier-naming)
#define SPD_HOOK(name, bytes, write)                                 \
  extern "C" void __tsan_##name(void* address) {                     \
    note_access(address, bytes, write, __builtin_return_address(0)); \
  }
#define SPD_HOOKS(bytes)                        \
  SPD_HOOK(read##bytes, bytes, false)           \
  SPD_HOOK(write##bytes, bytes, true)           \
  SPD_HOOK(unaligned_read##bytes, bytes, false) \
  SPD_HOOK(unaligned_write##bytes, bytes, true) \
  SPD_HOOK(volatile_read##bytes, bytes, false)  \
  SPD_HOOK(volatile_write##bytes, bytes, true)
SPD_HOOKS(1)
SPD_HOOKS(2)
SPD_HOOKS(4)
SPD_HOOKS(8)
SPD_HOOKS(16)

extern "C" {
void __tsan_read_range(void* address, std::size_t bytes) {
  note_access(address, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* address, std::size_t bytes) {
  note_access(address, bytes, true, __builtin_return_address(0));
}
void __tsan_init() { cuda_emulation::set_accesses_checked(); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}

/// As the compiler lays it out: where, the type, and the logarithm of the alignment it needs.
struct MisalignedPlace {
  const char* file;
  std::uint32_t line, column;
  const void* type;
  std::uint8_t log_alignment, kind;
};
void __ubsan_handle_type_mismatch_v1(MisalignedPlace* place, std::uintptr_t pointer) {
  const std::string_view file = place->file;
  cuda_emulation::report(fmt::format("misaligned access at {}:{}: an address that ends in {:#x}",
                                     file.substr(file.rfind('/') + 1), place->line, pointer % 64));
}
void __ubsan_handle_type_mismatch_v1_abort(MisalignedPlace* place, std::uintptr_t pointer) {
  __ubsan_handle_type_mismatch_v1(place, pointer);
}
}
// NOLINTEND(readability-identifier-naming)
