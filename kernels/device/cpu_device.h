// Host memory as a device: page-aligned, huge pages for large buffers, calls done on return.
#pragma once

#include "kernels/device/device.h"

namespace spd {

class CpuDevice final : public Device {
 public:
  std::string name() const override;
  std::unique_ptr<Stream> make_stream() override;
  std::unique_ptr<Event> make_event() override;
  bool captures() const override { return false; }
  void use() override {}
  MemoryInfo memory() override;
  void* allocate(std::size_t bytes) override;
  void release(void* data, std::size_t bytes) noexcept override;
  void* allocate_host(std::size_t bytes) override { return allocate(bytes); }
  void release_host(void* data, std::size_t bytes) noexcept override { release(data, bytes); }
  void upload(void* device_to, const void* host_from, std::size_t bytes, Stream&) override;
  void download(void* host_to, const void* device_from, std::size_t bytes, Stream&) override;
  void copy(void* to, const void* from, std::size_t bytes, Stream&) override;
};

}  // namespace spd
