#include "tests/cuda_emulation/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/cuda_emulation/access.h"
#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/reserve.h"

namespace cuda_emulation {

namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kGap = 4096;  // beyond each allocation: belongs to nobody

unsigned char* arena() {
  static auto* const memory = reserve<unsigned char>(kDeviceSpan * kMostDevices);
  return memory;
}

/// Allocations of one device by offset within its span. Where accesses are checked, freed addresses
/// are used again only when all others have been: a stale pointer points to nothing for long.
class Span {
 public:
  /// kDeviceSpan: no room.
  std::size_t take(std::size_t bytes) {
    const std::size_t whole = (bytes + kAlignment - 1) / kAlignment * kAlignment + kGap;
    for (const std::size_t from : {accesses_checked() ? next_ : kGap, kGap}) {
      std::size_t at = from;
      auto following = taken_.lower_bound(at);
      while (following != taken_.end() && following->first < at + whole) {
        at = following->first + (following->second + kAlignment - 1) / kAlignment * kAlignment +
             kGap;
        ++following;
      }
      if (at + whole > kDeviceSpan) continue;
      taken_[at] = bytes;
      used_ += bytes;
      next_ = at + whole;
      end_ = std::max(end_, next_);
      return at;
    }
    return kDeviceSpan;
  }
  /// Its bytes, or kDeviceSpan: nothing begins there.
  std::size_t give(std::size_t at) {
    const auto found = taken_.find(at);
    if (found == taken_.end()) return kDeviceSpan;
    const std::size_t bytes = found->second;
    taken_.erase(found);
    used_ -= bytes;
    return bytes;
  }
  bool holds(std::size_t at, std::size_t bytes) const {
    auto found = taken_.upper_bound(at);
    if (found == taken_.begin()) return false;
    --found;
    return at + bytes <= found->first + found->second;
  }
  std::size_t used() const { return used_; }
  std::size_t end() const { return end_; }  ///< of all that was ever taken

 private:
  std::map<std::size_t, std::size_t> taken_;
  std::size_t next_ = kGap, used_ = 0, end_ = 0;
};

Span& span(int device) {
  static auto* const spans = new std::array<Span, kMostDevices>;
  return (*spans)[device];
}

std::map<const unsigned char*, std::size_t>& pinned() {
  static auto* const ranges = new std::map<const unsigned char*, std::size_t>;
  return *ranges;
}

int open_count = 0;
bool closed = false;

void protect(int rights) {
  constexpr std::size_t kPage = 4096;
  for (int device = 0; device < kMostDevices; ++device) {
    const std::size_t bytes = (span(device).end() + kPage - 1) / kPage * kPage;
    if (bytes > 0) mprotect(arena() + device * kDeviceSpan, bytes, rights);
  }
  closed = rights == PROT_NONE;
}

void on_fault(int signal, siginfo_t* info, void*) {
  std::signal(signal, SIG_DFL);
  if (!is_device_memory(info->si_addr)) return;  // happens again, and ends the program
  constexpr char kMessage[] = "cuda_emulation: the host touches device memory\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
}

// Pages of large allocations go back to the system.
void forget(unsigned char* memory, std::size_t bytes) {
  constexpr std::uintptr_t kPage = 4096;
  constexpr std::size_t kLarge = 1 << 20;
  if (bytes < kLarge) {
    std::memset(memory, 0xff, bytes);
    return;
  }
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + kPage - 1) / kPage * kPage;
  const auto end = reinterpret_cast<std::uintptr_t>(memory + bytes) / kPage * kPage;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

OpenMemory::OpenMemory() {
  if (open_count++ == 0 && closed) protect(PROT_READ | PROT_WRITE);
}

OpenMemory::~OpenMemory() {
  if (--open_count == 0) guard_memory();
}

void guard_memory() {
  if (open_count > 0 || closed == options().guarded) return;
  if (options().guarded) {
    struct sigaction action {};
    action.sa_sigaction = &on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
  }
  protect(options().guarded ? PROT_NONE : PROT_READ | PROT_WRITE);
}

bool is_device_memory(const void* address) {
  return device_offset(address) < kDeviceSpan * kMostDevices;
}

std::size_t device_offset(const void* address) {
  return static_cast<const unsigned char*>(address) - arena();
}

void* allocate_device(int device, std::size_t bytes) {
  if (span(device).used() + bytes > options().memory) return nullptr;
  const std::size_t at = span(device).take(bytes);
  if (at == kDeviceSpan) return nullptr;
  unsigned char* const memory = arena() + device * kDeviceSpan + at;
  const OpenMemory open;
  std::memset(memory, 0xff, bytes);
  open_global(memory, bytes);
  return memory;
}

bool free_device(void* address) {
  const std::size_t offset = device_offset(address);
  const std::size_t bytes = span(device_at(offset)).give(offset % kDeviceSpan);
  if (bytes == kDeviceSpan) return false;
  close_global(address, bytes);
  const OpenMemory open;
  forget(static_cast<unsigned char*>(address), bytes);
  return true;
}

std::size_t used_memory(int device) { return span(device).used(); }

bool is_allocated(const void* address, std::size_t bytes) {
  const std::size_t offset = device_offset(address);
  return span(device_at(offset)).holds(offset % kDeviceSpan, bytes);
}

void* allocate_pinned(std::size_t bytes) {
  constexpr std::size_t kPage = 4096;
  void* const memory = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
  if (memory) pinned()[static_cast<unsigned char*>(memory)] = bytes;
  return memory;
}

bool free_pinned(void* address) {
  if (pinned().erase(static_cast<unsigned char*>(address)) == 0) return false;
  std::free(address);
  return true;
}

bool is_pinned(const void* address) {
  const auto* const at = static_cast<const unsigned char*>(address);
  auto found = pinned().upper_bound(at);
  if (found == pinned().begin()) return false;
  --found;
  return at < found->first + found->second;
}

}  // namespace cuda_emulation
