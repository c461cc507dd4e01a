// A group of processes, and the communicators that can be made for it.
#pragma once

#include <memory>

#include "comm/failure/group.h"
#include "comm/message_communicator.h"
#include "comm/mpi_handle.h"
#include "comm/shm_communicator.h"
#include "comm/ucx_worker.h"

namespace spd {

/// What MpiSession::group gives: MPI for setting up (and for talking, if need be), and the
/// settings.
struct ProcessGroup {
  MpiComm comm;
  GroupSettings settings;
};

/// All are collective over the group. Throws comm Error where MPI fails.
std::unique_ptr<Communicator> make_mpi_communicator(ProcessGroup group, AlgorithmTable algorithms);
/// The ranks must share a node. Throws system Error when shared memory is short.
std::unique_ptr<ShmCommunicator> make_shm_communicator(ProcessGroup group);

/// Connects every rank with every other before it returns. Throws comm Error where UCX fails.
std::unique_ptr<Communicator> make_ucx_communicator(ProcessGroup group,
                                                    std::shared_ptr<UcxWorker> worker,
                                                    AlgorithmTable algorithms);

}  // namespace spd
