#include "comm/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <random>

#include "comm/mpi_handle.h"
#include "kernels/device/error.h"

namespace spd {

namespace {

Error short_of_memory(std::size_t bytes, int error) {
  return Error(ErrorCode::system,
               fmt::format("cannot share {} bytes of memory between the ranks of a node: {}", bytes,
                           std::strerror(error)),
               "give /dev/shm more room (docker run --shm-size) or use --intra mpi");
}

struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) close(value);
  }
};

/// 0 or an errno. The pages are claimed now: a full /dev/shm would be a bus error later.
int open_new(const char* name, std::size_t bytes, Descriptor& file) {
  file.value = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file.value < 0) return errno;
  return posix_fallocate(file.value, 0, static_cast<off_t>(bytes));
}

}  // namespace

std::byte* SharedMemory::map(int descriptor, std::size_t bytes) {
  const int flags = MAP_SHARED | (descriptor < 0 ? MAP_ANONYMOUS : 0);
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0);
  return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
}

std::unique_ptr<SharedMemory> SharedMemory::create(MPI_Comm comm, std::size_t bytes) {
  int rank = 0;
  check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  struct Invitation {
    std::array<char, 48> name{};
    int error = 0;
  } invitation;
  Descriptor file;
  if (rank == 0) {
    std::random_device random;
    const std::string name = fmt::format("/spd-{}-{:08x}{:08x}", getpid(), random(), random());
    std::copy(name.begin(), name.end(), invitation.name.begin());
    invitation.error = open_new(invitation.name.data(), bytes, file);
  }
  check_mpi(MPI_Bcast(&invitation, sizeof invitation, MPI_BYTE, 0, comm), "MPI_Bcast");
  int error = invitation.error;
  std::byte* data = nullptr;
  if (error == 0) {
    if (rank != 0) file.value = shm_open(invitation.name.data(), O_RDWR | O_CLOEXEC, 0);
    if (file.value >= 0) data = map(file.value, bytes);
    if (data == nullptr) error = errno;
  }
  int worst = 0;
  const int status = MPI_Allreduce(&error, &worst, 1, MPI_INT, MPI_MAX, comm);
  if (rank == 0) shm_unlink(invitation.name.data());
  std::unique_ptr<SharedMemory> memory(data ? new SharedMemory(data, bytes) : nullptr);
  check_mpi(status, "MPI_Allreduce");
  if (worst != 0) throw short_of_memory(bytes, worst);
  return memory;
}

std::unique_ptr<SharedMemory> SharedMemory::anonymous(std::size_t bytes) {
  std::byte* data = map(-1, bytes);
  if (data == nullptr) throw short_of_memory(bytes, errno);
  return std::unique_ptr<SharedMemory>(new SharedMemory(data, bytes));
}

SharedMemory::~SharedMemory() { munmap(data_, bytes_); }

}  // namespace spd
