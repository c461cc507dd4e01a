// What every function of the API begins with: the lock, injected errors, a lost device.
#pragma once

#include <cuda_runtime.h>

#include <mutex>

namespace cuda_emulation {

class Call {
 public:
  explicit Call(const char* function);
  /// Not cudaSuccess: the function is to do nothing and give this.
  cudaError_t error() const { return error_; }
  std::unique_lock<std::mutex>& lock() { return lock_; }

 private:
  std::unique_lock<std::mutex> lock_;
  cudaError_t error_;
};

int current_device();
void set_current_device(int device);
/// What cudaGetLastError gives next in this thread.
cudaError_t remember(cudaError_t error);
cudaError_t take_last_error();
void forget_failures();

}  // namespace cuda_emulation

// NOLINTBEGIN(bugprone-macro-parentheses)
#define SPD_BEGIN_CALL(call)             \
  ::cuda_emulation::Call call(__func__); \
  if (call.error() != cudaSuccess) return ::cuda_emulation::remember(call.error())
// NOLINTEND(bugprone-macro-parentheses)
