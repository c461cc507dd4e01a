#include "comm/process_group.h"

#include "comm/mpi_transport.h"
#include "comm/ucx_transport.h"
#include "kernels/device/cpu_device.h"

namespace spd {

std::unique_ptr<Communicator> make_mpi_communicator(ProcessGroup group, AlgorithmTable algorithms) {
  const bool spin = group.settings.spin;
  return std::make_unique<MessageCommunicator>(
      std::make_unique<MpiTransport>(std::move(group.comm), spin), std::move(group.settings),
      std::move(algorithms));
}

std::unique_ptr<ShmCommunicator> make_shm_communicator(ProcessGroup group) {
  std::shared_ptr<SharedMemory> memory = SharedMemory::create(
      group.comm.get(), ShmCommunicator::bytes_needed(group.settings.members.size()));
  const bool own_cores = group.settings.spin;
  auto comm = std::make_unique<ShmCommunicator>(std::move(memory), group.comm.rank(),
                                                std::move(group.settings));
  if (own_cores && comm->size() > 1) comm->measure_stores();
  return comm;
}

std::unique_ptr<Communicator> make_ucx_communicator(ProcessGroup group,
                                                    std::shared_ptr<UcxWorker> worker,
                                                    AlgorithmTable algorithms) {
  auto transport = std::make_unique<UcxTransport>(std::move(worker), group.comm.get(),
                                                  group.settings.members.job_ranks,
                                                  group.settings.id, group.settings.spin);
  auto comm = std::make_unique<MessageCommunicator>(std::move(transport), std::move(group.settings),
                                                    std::move(algorithms));
  // UCX connects on the first message: that is here, not in the first token.
  CpuDevice device;
  const auto stream = device.make_stream();
  const int mine = comm->rank();
  std::vector<int> all(comm->size());
  comm->all_gather(&mine, all.data(), sizeof mine, *stream, {"connect"});
  return comm;
}

}  // namespace spd
