// The split of a job's ranks into nodes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/mpi_handle.h"

namespace spd {

/// Where a process can share memory: equal for processes that run on one kernel (its boot id) and
/// see one /dev/shm, other processes' differ. 0 where the system does not tell.
std::uint64_t memory_domain();

/// The lowest rank of each rank's node. Ranks are of one node where `leaders` says so (each rank's
/// lowest rank by MPI), or where their domains are equal and not 0; and all that follows from both.
std::vector<int> join_nodes(std::span<const int> leaders, std::span<const std::uint64_t> domains);

/// Ranks that share memory: by MPI_Comm_split_type, joined where memory_domain() shows that it has
/// torn a node apart. Open MPI 4.1.6 on PMIx 5 (Ubuntu 24.04's) does so on all nodes but the last.
/// Collective over `world`.
MpiComm split_by_node(const MpiComm& world);

}  // namespace spd
