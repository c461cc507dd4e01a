#include "comm/mpi_handle.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "kernels/device/error.h"

namespace spd {

void check_mpi(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(status, text.data(), &length);
  throw Error(ErrorCode::comm, fmt::format("{}: {}", call, std::string_view(text.data(), length)));
}

std::vector<std::vector<std::byte>> all_gather_bytes(MPI_Comm comm, int ranks,
                                                     const std::vector<std::byte>& mine) {
  const int length = static_cast<int>(mine.size());
  std::vector<int> lengths(ranks);
  check_mpi(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, comm), "MPI_Allgather");
  std::vector<int> offsets(ranks + 1, 0);
  for (int r = 0; r < ranks; ++r) offsets[r + 1] = offsets[r] + lengths[r];
  std::vector<std::byte> all(offsets[ranks]);
  check_mpi(MPI_Allgatherv(mine.data(), length, MPI_BYTE, all.data(), lengths.data(),
                           offsets.data(), MPI_BYTE, comm),
            "MPI_Allgatherv");
  std::vector<std::vector<std::byte>> parts;
  parts.reserve(ranks);
  for (int r = 0; r < ranks; ++r) {
    parts.emplace_back(all.begin() + offsets[r], all.begin() + offsets[r + 1]);
  }
  return parts;
}

MpiComm::MpiComm(MPI_Comm comm) : comm_(comm) {
  check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

MpiComm::~MpiComm() {
  if (comm_ != MPI_COMM_NULL && !finalized()) MPI_Comm_free(&comm_);
}

MpiComm MpiComm::duplicate(MPI_Comm parent) {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(parent, &comm), "MPI_Comm_dup");
  return MpiComm(comm);
}

MpiComm MpiComm::split(MPI_Comm parent, int colour) {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(parent, colour, 0, &comm), "MPI_Comm_split");
  return MpiComm(comm);
}

MpiComm MpiComm::split_shared(MPI_Comm parent) {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(parent, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &comm),
            "MPI_Comm_split_type");
  return MpiComm(comm);
}

bool MpiComm::finalized() {
  int done = 0;
  MPI_Finalized(&done);
  return done != 0;
}

int MpiComm::rank() const {
  int rank = 0;
  check_mpi(MPI_Comm_rank(comm_, &rank), "MPI_Comm_rank");
  return rank;
}

int MpiComm::size() const {
  int size = 0;
  check_mpi(MPI_Comm_size(comm_, &size), "MPI_Comm_size");
  return size;
}

}  // namespace spd
