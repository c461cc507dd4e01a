// Whether what a job is about to hold fits into its machines.
#pragma once

#include <string>

#include "runtime/job/launch.h"

namespace spd {

/// Bytes of memory and swap that this process may use: the machine's, or its control group's limit.
double machine_memory();

/// Throws system Error naming both sizes where this node's ranks together cannot hold
/// `bytes_per_rank` each: before memory is taken, which would end in the kernel's killing someone.
/// `what`, e.g. "the model's weights", begins the message.
void check_memory(const RankContext& context, double bytes_per_rank, const std::string& what);

}  // namespace spd
