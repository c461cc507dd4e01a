// A stack that can be left and entered again: one for each CUDA thread.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_emulation {

/// Switches keep what the calling convention says a function must keep, and nothing more. Not tied
/// to the system thread that began it.
class Fiber {
 public:
  /// The next switch to it calls entry(), which must never return.
  void prepare(char* stack, std::size_t bytes, void (*entry)());
  /// Goes on in `to`; returns when something switches to `from`.
  static void change(Fiber& from, Fiber& to);

 private:
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
};

}  // namespace cuda_emulation
