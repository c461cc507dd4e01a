// Which cores a rank computes on.
#pragma once

#include <vector>

#include "comm/rank_comms.h"
#include "kernels/operators.h"

namespace spd {

/// Cores this process may run on, one logical processor a physical core.
std::vector<int> allowed_cores();

/// Logical processors this process may run on.
int allowed_processors();

/// Threads and cores of this rank. `threads` 0: an equal share of the node's cores. Where all ranks
/// of the node may use the same cores, each takes its own slice; where the launcher has bound them,
/// each keeps what it got. Threads are pinned if `pin` and there is a core for each.
/// All ranks call it alike (it compares notes over comms.node).
CpuOptions place_rank(const RankComms& comms, int threads, bool pin);

}  // namespace spd
