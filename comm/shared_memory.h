// Memory mapped by several processes of a node.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <memory>

namespace spd {

/// Owns a zero-filled shared mapping. Has no name once every process has mapped it, so that nothing
/// is left behind however the processes end.
class SharedMemory {
 public:
  /// Collective over `comm`, whose ranks share a node. Throws system Error on all ranks when memory
  /// is short.
  static std::unique_ptr<SharedMemory> create(MPI_Comm comm, std::size_t bytes);
  /// For threads, and for processes forked later. Throws system Error when memory is short.
  static std::unique_ptr<SharedMemory> anonymous(std::size_t bytes);

  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  SharedMemory(std::byte* data, std::size_t bytes) : data_(data), bytes_(bytes) {}
  static std::byte* map(int descriptor, std::size_t bytes);

  std::byte* data_;
  std::size_t bytes_;
};

}  // namespace spd
