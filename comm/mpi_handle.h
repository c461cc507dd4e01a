// Owning handles and error codes of MPI.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <utility>
#include <vector>

namespace spd {

/// Throws comm Error "MPI_Isend: <what MPI says>" unless `status` is MPI_SUCCESS.
void check_mpi(int status, const char* call);

/// [ranks]: every rank's bytes, of any number, on every rank of `comm`, which has so many ranks.
std::vector<std::vector<std::byte>> all_gather_bytes(MPI_Comm comm, int ranks,
                                                     const std::vector<std::byte>& mine);

/// Owns an MPI communicator whose errors are returned, not fatal.
class MpiComm {
 public:
  MpiComm() = default;
  MpiComm(MpiComm&& other) noexcept : comm_(std::exchange(other.comm_, MPI_COMM_NULL)) {}
  MpiComm& operator=(MpiComm&& other) noexcept {
    std::swap(comm_, other.comm_);
    return *this;
  }
  ~MpiComm();

  /// All are collective over `parent`. split: ranks of equal colour form a group, in order.
  static MpiComm duplicate(MPI_Comm parent);
  static MpiComm split(MPI_Comm parent, int colour);
  /// Ranks that share memory, as MPI_Comm_split_type tells: see split_by_node().
  static MpiComm split_shared(MPI_Comm parent);
  /// MPI is gone: handles must not be touched any more.
  static bool finalized();

  MPI_Comm get() const { return comm_; }
  int rank() const;
  int size() const;

 private:
  explicit MpiComm(MPI_Comm comm);

  MPI_Comm comm_ = MPI_COMM_NULL;
};

}  // namespace spd
