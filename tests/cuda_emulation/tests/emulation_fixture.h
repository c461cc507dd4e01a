// Streams and buffers by the bare CUDA API, and what the emulation reports.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/cuda/queue.h"
#include "tests/cuda_emulation/control.h"

namespace spd::test {

class EmulationTest : public testing::Test {
 protected:
  void SetUp() override { cuda_emulation::reset(); }
  void TearDown() override {
    for (const std::string& report : cuda_emulation::take_reports()) ADD_FAILURE() << report;
    cuda_emulation::reset();
    for (void* memory : allocated_) cudaFree(memory);
    for (cudaStream_t stream : streams_) cudaStreamDestroy(stream);
  }

  cudaStream_t make_stream() {
    streams_.emplace_back();
    EXPECT_EQ(cudaStreamCreateWithFlags(&streams_.back(), cudaStreamNonBlocking), cudaSuccess);
    return streams_.back();
  }
  template <class T>
  T* allocate(std::size_t count) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, count * sizeof(T)), cudaSuccess);
    allocated_.push_back(memory);
    return static_cast<T*>(memory);
  }
  template <class T>
  T* upload(const std::vector<T>& values, cudaStream_t stream) {
    T* const memory = allocate<T>(values.size());
    EXPECT_EQ(cudaMemcpyAsync(memory, values.data(), values.size() * sizeof(T),
                              cudaMemcpyHostToDevice, stream),
              cudaSuccess);
    return memory;
  }
  template <class T>
  std::vector<T> download(const T* memory, std::size_t count, cudaStream_t stream) {
    std::vector<T> values(count);
    EXPECT_EQ(
        cudaMemcpyAsync(values.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost, stream),
        cudaSuccess);
    return values;
  }
  void forget(void* memory) {
    allocated_.erase(std::find(allocated_.begin(), allocated_.end(), memory));
  }

  /// Whether one of the reports, which are taken, has all of this in it.
  static testing::AssertionResult reported(const std::vector<std::string>& parts) {
    const std::vector<std::string> reports = cuda_emulation::take_reports();
    std::string all;
    for (const std::string& report : reports) {
      if (std::all_of(parts.begin(), parts.end(), [&](const std::string& part) {
            return report.find(part) != std::string::npos;
          })) {
        return testing::AssertionSuccess();
      }
      all += "\n  " + report;
    }
    return testing::AssertionFailure()
           << "no report of \"" << parts.front() << "\" among" << (all.empty() ? " none" : all);
  }

  static cuda::Queue queue(cudaStream_t stream, bool programmatic = false) {
    return {stream, cuda_emulation::options().multiprocessors, programmatic};
  }

 private:
  std::vector<void*> allocated_;
  std::vector<cudaStream_t> streams_;
};

inline constexpr cuda_emulation::Order kOrders[] = {
    cuda_emulation::Order::up, cuda_emulation::Order::down, cuda_emulation::Order::random};

}  // namespace spd::test
