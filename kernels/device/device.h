// A device (where memory lives), a stream (the order in which it works), events and graphs of a
// stream's work, and buffers (memory).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace spd {

class Stream;

/// A point in a stream's work that others can wait for, and between two of which time passes.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  virtual ~Event() = default;
  /// From now on it means what the stream has been given so far.
  virtual void record(Stream&) = 0;
  /// Whether that is done. An event that was never recorded is.
  virtual bool done() = 0;
  /// Blocks until it is. Throws device Error.
  virtual void synchronize() = 0;
  /// Between two events that are done, recorded in streams of one device.
  virtual double seconds_since(Event& earlier) = 0;
};

/// Work that was captured once and can be done again with one call. It reads and writes the same
/// addresses each time.
class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  virtual ~Graph() = default;
  virtual void launch(Stream&) = 0;
  /// Kernels, copies and fills that it holds.
  virtual std::size_t size() const = 0;
};

/// Work on one stream is done in the order of the calls. On the CPU a call is done when it returns.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;
  /// Blocks until everything put on the stream is done. Throws device Error.
  virtual void synchronize() = 0;
  /// Whether it is, without waiting. Throws device Error.
  virtual bool done() = 0;
  /// What comes later on this stream waits for what the event means now.
  virtual void wait(Event&) = 0;
  /// Only where Device::captures(): from here to end_capture() calls are recorded instead of done;
  /// none may wait, allocate or bring results to the host.
  virtual void begin_capture() = 0;
  virtual std::unique_ptr<Graph> end_capture() = 0;
};

/// Bytes of a device's memory.
struct MemoryInfo {
  std::size_t free = 0, total = 0;
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
  virtual std::unique_ptr<Event> make_event() = 0;
  /// Whether streams can capture graphs.
  virtual bool captures() const = 0;
  /// Makes it the device that calls of this thread go to. Streams and operators do it themselves.
  virtual void use() = 0;
  /// Of what other processes leave.
  virtual MemoryInfo memory() = 0;

  /// At least 64-byte aligned, zero-filled. Throws system Error when memory is short.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* data, std::size_t bytes) noexcept = 0;

  /// Host memory that the device reads and writes by itself, see HostBuffer. Not zeroed.
  virtual void* allocate_host(std::size_t bytes) = 0;
  virtual void release_host(void* data, std::size_t bytes) noexcept = 0;

  /// The host memory may be used for something else as soon as it returns, unless it is a
  /// HostBuffer's: then only when the stream has got there.
  virtual void upload(void* device_to, const void* host_from, std::size_t bytes, Stream&) = 0;
  /// The host may read it when the stream has got there.
  virtual void download(void* host_to, const void* device_from, std::size_t bytes, Stream&) = 0;
  /// From one place of the device's memory to another; they do not overlap.
  virtual void copy(void* to, const void* from, std::size_t bytes, Stream&) = 0;
};

/// Owns memory that a device gave; keeps its address for life. The device must outlive it.
template <auto kAllocate, auto kRelease>
class OwnedMemory {
 public:
  OwnedMemory() = default;
  OwnedMemory(Device& device, std::size_t bytes)
      : device_(&device), data_((device.*kAllocate)(bytes)), bytes_(bytes) {}
  OwnedMemory(OwnedMemory&& other) noexcept { swap(other); }
  OwnedMemory& operator=(OwnedMemory&& other) noexcept {
    OwnedMemory(std::move(other)).swap(*this);
    return *this;
  }
  ~OwnedMemory() {
    if (data_) (device_->*kRelease)(data_, bytes_);
  }

  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

  void swap(OwnedMemory& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Device memory.
using Buffer = OwnedMemory<&Device::allocate, &Device::release>;
/// Host memory that copies of a stream read and write while the host goes on.
using HostBuffer = OwnedMemory<&Device::allocate_host, &Device::release_host>;

}  // namespace spd
