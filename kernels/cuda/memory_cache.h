// Device memory that was released, kept for whoever asks next: the driver takes a millisecond.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <vector>

namespace spd::cuda {

/// Of one device. Thread-safe; the caller has made the device current.
class MemoryCache {
 public:
  MemoryCache();
  MemoryCache(const MemoryCache&) = delete;
  MemoryCache& operator=(const MemoryCache&) = delete;
  ~MemoryCache();

  /// Zero-filled for every stream when it returns. Null: there is not enough.
  void* allocate(std::size_t bytes);
  /// What streams have been given so far may still use it: it is handed out again after that. While
  /// a stream captures, that cannot be told: then it is kept until memory is short.
  void release(void* data, std::size_t bytes) noexcept;

  /// Streams whose work is waited for before memory is used again.
  void add_stream(cudaStream_t stream);
  void remove_stream(cudaStream_t stream) noexcept;

 private:
  struct Piece {
    void* data;
    std::vector<cudaEvent_t> users;  ///< done when the memory is free
  };
  static std::size_t rounded(std::size_t bytes);
  cudaEvent_t take_event();
  void give_events(std::vector<cudaEvent_t>& events);
  void drop_unused();
  bool captures() const;

  std::mutex mutex_;
  cudaStream_t zeroing_ = nullptr;
  std::set<cudaStream_t> streams_;
  std::multimap<std::size_t, Piece> unused_;  // by rounded size
  std::vector<void*> held_;                   // released during a capture
  std::vector<cudaEvent_t> events_;
};

}  // namespace spd::cuda
