// A device (where memory lives), a stream (the order in which it works) and a buffer (its memory).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace spd {

/// Work on one stream is done in the order of the calls. On the CPU a call is done when it returns.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;
  /// Blocks until everything put on the stream is done. Throws device Error.
  virtual void synchronize() = 0;
};

/// Memory and its movement. Pointers handed out are device addresses: only kernels/ dereferences
/// them. Thread-safe.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  virtual std::string name() const = 0;
  virtual std::unique_ptr<Stream> make_stream() = 0;

  /// At least 64-byte aligned, zero-filled. Throws system Error when memory is short.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* data, std::size_t bytes) noexcept = 0;

  virtual void upload(void* device_to, const void* host_from, std::size_t bytes, Stream&) = 0;
  virtual void download(void* host_to, const void* device_from, std::size_t bytes, Stream&) = 0;
};

/// Owns device memory; keeps its address for life. The device must outlive it.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device& device, std::size_t bytes)
      : device_(&device), data_(device.allocate(bytes)), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~Buffer() {
    if (data_) device_->release(data_, bytes_);
  }

  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

  void swap(Buffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace spd
