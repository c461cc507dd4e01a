// A GPU as a Device: streams, events, graphs, and memory that is kept for the next who asks.
#pragma once

#include <cuda_runtime.h>

#include <mutex>
#include <set>
#include <string>

#include "kernels/cuda/memory_cache.h"
#include "kernels/cuda/queue.h"
#include "kernels/device/device.h"

namespace spd::cuda {

class CudaDevice final : public Device {
 public:
  /// GPU number `ordinal` of those that this process sees. Throws device Error: no driver, one that
  /// is too old, no such GPU.
  explicit CudaDevice(int ordinal);
  ~CudaDevice() override;

  std::string name() const override { return name_; }
  std::unique_ptr<Stream> make_stream() override;
  std::unique_ptr<Event> make_event() override;
  bool captures() const override { return true; }
  void use() override;
  MemoryInfo memory() override;
  void* allocate(std::size_t bytes) override;
  void release(void* data, std::size_t bytes) noexcept override;
  void* allocate_host(std::size_t bytes) override;
  void release_host(void* data, std::size_t bytes) noexcept override;
  void upload(void* device_to, const void* host_from, std::size_t bytes, Stream&) override;
  void download(void* host_to, const void* device_from, std::size_t bytes, Stream&) override;
  void copy(void* to, const void* from, std::size_t bytes, Stream&) override;

  int ordinal() const { return ordinal_; }
  int multiprocessors() const { return multiprocessors_; }
  /// For launches on this stream by this thread.
  Queue queue(Stream& stream);
  static cudaStream_t handle(Stream& stream);
  static bool capturing(Stream& stream);

 private:
  int ordinal_;
  std::string name_;
  int multiprocessors_ = 1;
  bool programmatic_ = false;
  std::unique_ptr<MemoryCache> cache_;
};

}  // namespace spd::cuda
