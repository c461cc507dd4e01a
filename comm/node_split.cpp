#include "comm/node_split.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <set>
#include <string>

#include "kernels/device/log.h"

namespace spd {
namespace {

template <class T>
std::vector<T> gather(const T& mine, MPI_Comm comm, int size) {
  std::vector<T> all(size);
  check_mpi(MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, comm),
            "MPI_Allgather");
  return all;
}

std::size_t distinct(const std::vector<int>& values) {
  return std::set<int>(values.begin(), values.end()).size();
}

}  // namespace

std::uint64_t memory_domain() {
  std::string boot;
  struct stat shm {};
  if (!std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot) ||
      stat("/dev/shm", &shm) != 0) {
    return 0;
  }
  const std::uint64_t hash = std::hash<std::string>()(boot + ' ' + std::to_string(shm.st_dev));
  return hash == 0 ? 1 : hash;
}

std::vector<int> join_nodes(std::span<const int> leaders, std::span<const std::uint64_t> domains) {
  std::vector<int> node(leaders.begin(), leaders.end());
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t a = 0; a < node.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        const bool together =
            leaders[a] == leaders[b] || (domains[a] != 0 && domains[a] == domains[b]);
        if (!together || node[a] == node[b]) continue;
        node[a] = node[b] = std::min(node[a], node[b]);
        changed = true;
      }
    }
  }
  return node;
}

MpiComm split_by_node(MPI_Comm parent) {
  MPI_Comm shared = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(parent, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared),
            "MPI_Comm_split_type");
  MpiComm by_mpi = MpiComm::take(shared);
  int rank = 0, size = 0;
  check_mpi(MPI_Comm_rank(parent, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(parent, &size), "MPI_Comm_size");
  int leader = rank;
  check_mpi(MPI_Bcast(&leader, 1, MPI_INT, 0, by_mpi.get()), "MPI_Bcast");
  const std::vector<int> leaders = gather(leader, parent, size);
  const std::vector<int> nodes = join_nodes(leaders, gather(memory_domain(), parent, size));
  if (nodes == leaders) return by_mpi;
  if (rank == 0) {
    spdlog::info("MPI_Comm_split_type tells {} nodes, but ranks share the memory of {}",
                 distinct(leaders), distinct(nodes));
  }
  return MpiComm::split(parent, nodes[rank]);
}

}  // namespace spd
