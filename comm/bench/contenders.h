// The contenders of comm_bench: what it compares.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/backends.h"
#include "comm/mpi_session.h"

namespace spd {

struct Contender {
  std::string name;
  Communicator* comm = nullptr;
  WireFormat wire = WireFormat::f32;
  std::shared_ptr<void> owner;  ///< of comm
};

/// Groups of all ranks. The first is always MPI_Allreduce; the rest are those named,
/// BACKEND[:ALGORITHM][@WIRE], or a choice of what can be made here. Collective over the job.
/// Throws usage Error for an unknown name.
std::vector<Contender> make_contenders(MpiSession& session, std::vector<std::string> names);

}  // namespace spd
