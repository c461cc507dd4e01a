#include "kernels/cuda/memory_cache.h"

#include "kernels/cuda/cuda_error.h"

namespace spd::cuda {

MemoryCache::MemoryCache() {
  check(cudaStreamCreateWithFlags(&zeroing_, cudaStreamNonBlocking), "creating a stream");
}

MemoryCache::~MemoryCache() {
  drop_unused();
  for (cudaEvent_t event : events_) note(cudaEventDestroy(event), "destroying an event");
  note(cudaStreamDestroy(zeroing_), "destroying a stream");
}

// Sizes that differ a little share pieces.
std::size_t MemoryCache::rounded(std::size_t bytes) {
  constexpr std::size_t kSmall = 512, kLarge = 2 << 20;
  const std::size_t grain = bytes < kLarge ? kSmall : kLarge;
  return bytes == 0 ? kSmall : (bytes + grain - 1) / grain * grain;
}

void* MemoryCache::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::size_t size = rounded(bytes);
  void* data = nullptr;
  if (const auto found = unused_.find(size); found != unused_.end()) {
    data = found->second.data;
    for (cudaEvent_t user : found->second.users) {
      check(cudaStreamWaitEvent(zeroing_, user, 0), "waiting for an event");
    }
    give_events(found->second.users);
    unused_.erase(found);
  } else {
    cudaError_t error = cudaMalloc(&data, size);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // or the next launch would report it
      drop_unused();
      error = cudaMalloc(&data, size);
    }
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
    check(error, "allocating memory");
  }
  check(cudaMemsetAsync(data, 0, size, zeroing_), "zeroing memory");
  check(cudaStreamSynchronize(zeroing_), "zeroing memory");
  return data;
}

void MemoryCache::release(void* data, std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  try {
    if (captures()) {
      held_.push_back(data);
      return;
    }
    Piece piece{data, {}};
    for (cudaStream_t stream : streams_) {
      piece.users.push_back(take_event());
      check(cudaEventRecord(piece.users.back(), stream), "recording an event");
    }
    unused_.emplace(rounded(bytes), std::move(piece));
  } catch (...) {  // the device is lost, and its memory with it
  }
}

void MemoryCache::add_stream(cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  streams_.insert(stream);
}

void MemoryCache::remove_stream(cudaStream_t stream) noexcept {
  const std::lock_guard lock(mutex_);
  streams_.erase(stream);
}

cudaEvent_t MemoryCache::take_event() {
  cudaEvent_t event = nullptr;
  if (events_.empty()) {
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
  } else {
    event = events_.back();
    events_.pop_back();
  }
  return event;
}

void MemoryCache::give_events(std::vector<cudaEvent_t>& events) {
  events_.insert(events_.end(), events.begin(), events.end());
  events.clear();
}

// cudaFree waits for the device by itself.
void MemoryCache::drop_unused() {
  for (auto& [size, piece] : unused_) {
    note(cudaFree(piece.data), "freeing memory");
    give_events(piece.users);
  }
  unused_.clear();
  for (void* data : held_) note(cudaFree(data), "freeing memory");
  held_.clear();
}

bool MemoryCache::captures() const {
  for (cudaStream_t stream : streams_) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream, &status), "asking a stream");
    if (status != cudaStreamCaptureStatusNone) return true;
  }
  return false;
}

}  // namespace spd::cuda
