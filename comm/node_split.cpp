#include "comm/node_split.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <string>

namespace spd {
namespace {

template <class T>
std::vector<T> gather(const T& mine, const MpiComm& world) {
  std::vector<T> all(world.size());
  check_mpi(
      MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, world.get()),
      "MPI_Allgather");
  return all;
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

MpiComm split_by_node(const MpiComm& world) {
  MpiComm by_mpi = MpiComm::split_shared(world.get());
  int leader = world.rank();
  check_mpi(MPI_Bcast(&leader, 1, MPI_INT, 0, by_mpi.get()), "MPI_Bcast");
  const std::vector<int> leaders = gather(leader, world);
  const std::vector<int> nodes = join_nodes(leaders, gather(memory_domain(), world));
  if (nodes == leaders) return by_mpi;
  return MpiComm::split(world.get(), nodes[world.rank()]);
}

}  // namespace spd
