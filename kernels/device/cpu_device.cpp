#include "kernels/device/cpu_device.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "kernels/device/error.h"
#include "kernels/device/huge_slabs.h"

namespace spd {

namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kMapFrom = 4u << 20;  // two huge pages
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t kSlabFrom = kMapFrom;  // the sanitizer watches the ends of heap buffers
#else
constexpr std::size_t kSlabFrom = 128u << 10;
#endif

// Never destroyed: buffers may outlive every static object.
HugeSlabs& slabs() {
  static auto* const all = new HugeSlabs;
  return *all;
}

std::size_t padded(std::size_t bytes) {
  return bytes == 0 ? kAlignment : (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

class CpuStream final : public Stream {
 public:
  void synchronize() override {}
  bool done() override { return true; }
  void wait(Event&) override {}
  void begin_capture() override {
    throw Error(ErrorCode::internal, "a stream of the CPU captures no graphs");
  }
  std::unique_ptr<Graph> end_capture() override { return nullptr; }
};

class CpuEvent final : public Event {
 public:
  void record(Stream&) override { time_ = std::chrono::steady_clock::now(); }
  bool done() override { return true; }
  void synchronize() override {}
  double seconds_since(Event& earlier) override {
    return std::chrono::duration<double>(time_ - static_cast<CpuEvent&>(earlier).time_).count();
  }

 private:
  std::chrono::steady_clock::time_point time_;
};

}  // namespace

std::string CpuDevice::name() const {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "cpu";
}

std::unique_ptr<Stream> CpuDevice::make_stream() { return std::make_unique<CpuStream>(); }

std::unique_ptr<Event> CpuDevice::make_event() { return std::make_unique<CpuEvent>(); }

MemoryInfo CpuDevice::memory() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return {static_cast<std::size_t>(sysconf(_SC_AVPHYS_PAGES)) * page,
          static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * page};
}

void* CpuDevice::allocate(std::size_t bytes) {
  void* data = nullptr;
  if (bytes < kSlabFrom) {
    // The heap for small buffers, so that a sanitizer can watch their ends.
    data = std::aligned_alloc(kAlignment, padded(bytes));
    if (data) std::memset(data, 0, padded(bytes));
  } else if (bytes < kMapFrom) {
    data = slabs().allocate(bytes);
  } else {
    // Fresh pages for large ones: zero, counted only when touched, given back on release.
    data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) data = nullptr;
    // Weights are read once a token from end to end: huge pages spare the TLB. Only a hint.
    if (data) madvise(data, bytes, MADV_HUGEPAGE);
  }
  if (!data) {
    throw Error(ErrorCode::system,
                fmt::format("cannot allocate {} bytes: {}", bytes, std::strerror(errno)),
                "use more ranks, a shorter context or a smaller batch");
  }
  return data;
}

void CpuDevice::release(void* data, std::size_t bytes) noexcept {
  if (bytes < kSlabFrom) {
    std::free(data);
  } else if (bytes < kMapFrom) {
    slabs().release(data);
  } else {
    munmap(data, bytes);
  }
}

void CpuDevice::upload(void* device_to, const void* host_from, std::size_t bytes, Stream&) {
  std::memcpy(device_to, host_from, bytes);
}

void CpuDevice::download(void* host_to, const void* device_from, std::size_t bytes, Stream&) {
  std::memcpy(host_to, device_from, bytes);
}

void CpuDevice::copy(void* to, const void* from, std::size_t bytes, Stream&) {
  std::memcpy(to, from, bytes);
}

}  // namespace spd
