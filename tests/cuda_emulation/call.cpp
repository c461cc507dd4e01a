#include "tests/cuda_emulation/call.h"

#include <utility>
#include <vector>

#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/streams.h"

namespace cuda_emulation {

namespace {

struct Failure {
  std::string function;
  int calls_left;
  cudaError_t error;
  bool lost;
};

std::vector<Failure>& failures() {
  static auto* const all = new std::vector<Failure>;
  return *all;
}

thread_local int device = 0;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t injected(const char* function) {
  for (auto failure = failures().begin(); failure != failures().end(); ++failure) {
    if (failure->function != function || --failure->calls_left > 0) continue;
    const cudaError_t error = failure->error;
    if (failure->lost) lose_device(error);
    failures().erase(failure);
    return error;
  }
  return cudaSuccess;
}

}  // namespace

Call::Call(const char* function) : lock_(everything()), error_(lost_error()) {
  if (error_ == cudaSuccess && options().driver == 0) error_ = cudaErrorInsufficientDriver;
  if (error_ == cudaSuccess) error_ = injected(function);
}

int current_device() { return device; }
void set_current_device(int index) { device = index; }

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}
cudaError_t take_last_error() { return std::exchange(last_error, cudaSuccess); }

void forget_failures() {
  failures().clear();
  last_error = cudaSuccess;
  device = 0;
}

void fail_call(const std::string& function, int nth, cudaError_t error, bool lost) {
  failures().push_back({function, nth, error, lost});
}

}  // namespace cuda_emulation
