#include "comm/process_group.h"

#include "comm/mpi_transport.h"
#include "comm/shm_communicator.h"

namespace spd {

std::unique_ptr<Communicator> make_mpi_communicator(ProcessGroup group, AlgorithmTable algorithms) {
  const bool spin = group.settings.spin;
  return std::make_unique<MessageCommunicator>(
      std::make_unique<MpiTransport>(std::move(group.comm), spin), std::move(group.settings),
      std::move(algorithms));
}

std::unique_ptr<Communicator> make_shm_communicator(ProcessGroup group) {
  std::shared_ptr<SharedMemory> memory = SharedMemory::create(
      group.comm.get(), ShmCommunicator::bytes_needed(group.settings.members.size()));
  return std::make_unique<ShmCommunicator>(std::move(memory), group.comm.rank(),
                                           std::move(group.settings));
}

}  // namespace spd
