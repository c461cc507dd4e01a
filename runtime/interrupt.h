// SIGTERM and SIGINT as a request to stop at the next good moment.
#pragma once

#include "comm/rank_comms.h"
#include "kernels/device/device.h"

namespace spd {

/// From now on the first SIGTERM or SIGINT only sets interrupted(); a second one ends the process
/// as usual. May be called by several ranks of one process.
void catch_interrupts();
bool interrupted();
/// Whether any rank was asked to stop: the same answer on all of them, which call it alike.
bool any_interrupted(const RankComms& comms, Stream& stream);

}  // namespace spd
