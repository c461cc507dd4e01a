// Brings every rank's repairs together.
#pragma once

#include <vector>

#include "comm/rank_comms.h"
#include "kernels/device/device.h"
#include "model/repair.h"

namespace spd {

/// All ranks' repairs of one block, [ranks], on every rank. All ranks call it alike.
std::vector<BlockRepair> gather_block_repairs(const BlockRepair& mine, const RankComms& comms,
                                              Stream& stream);

/// All ranks' repairs of all blocks, [ranks][blocks], on rank 0 alone: elsewhere they are empty.
/// All ranks call it alike.
std::vector<RankRepair> gather_repairs(const RankRepair& mine, const RankComms& comms,
                                       Stream& stream);

}  // namespace spd
