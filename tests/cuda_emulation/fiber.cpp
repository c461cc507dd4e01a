#include "tests/cuda_emulation/fiber.h"

#include <cstdint>

#if defined(__x86_64__)

// System V: rbx, rbp, r12-r15 and the stack pointer belong to the caller. `save` gets the stack
// pointer beneath which they lie. The way back is a jump, since return-address prediction is wrong
// after every switch.
asm(R"(
.text
.p2align 4
.globl cuda_emulation_change_stack
.type cuda_emulation_change_stack, @function
cuda_emulation_change_stack:
  subq $48, %rsp
  movq %rbx, 0(%rsp)
  movq %rbp, 8(%rsp)
  movq %r12, 16(%rsp)
  movq %r13, 24(%rsp)
  movq %r14, 32(%rsp)
  movq %r15, 40(%rsp)
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  movq 0(%rsp), %rbx
  movq 8(%rsp), %rbp
  movq 16(%rsp), %r12
  movq 24(%rsp), %r13
  movq 32(%rsp), %r14
  movq 40(%rsp), %r15
  movq 48(%rsp), %rdx
  addq $56, %rsp
  jmp *%rdx
.size cuda_emulation_change_stack, . - cuda_emulation_change_stack
)");
extern "C" void cuda_emulation_change_stack(void** save, void* load);

namespace cuda_emulation {

void Fiber::prepare(char* stack, std::size_t bytes, void (*entry)()) {
  constexpr std::uintptr_t kAlign = 64;
  auto* top =
      reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(stack + bytes) & ~(kAlign - 1));
  *--top = nullptr;  // where entry() would return to, which also aligns its frame as a call does
  *--top = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  stack_pointer_ = top;
}

void Fiber::change(Fiber& from, Fiber& to) {
  cuda_emulation_change_stack(&from.stack_pointer_, to.stack_pointer_);
}

}  // namespace cuda_emulation

#else

namespace cuda_emulation {

void Fiber::prepare(char* stack, std::size_t bytes, void (*entry)()) {
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
}

void Fiber::change(Fiber& from, Fiber& to) { swapcontext(&from.context_, &to.context_); }

}  // namespace cuda_emulation

#endif
