// What all ranks have repaired, in one place.
#pragma once

#include <vector>

#include "runtime/inference/engine.h"
#include "runtime/repair/gather.h"

namespace spd {

/// [ranks]
inline std::vector<RankRepair> all_ranks(Engine& engine, const RankRepair& repair) {
  std::vector<RankRepair> all(engine.context().ranks(), RankRepair(repair.size()));
  for (std::size_t block = 0; block < repair.size(); ++block) {
    const auto ranks = gather_block_repairs(repair[block], engine.context().comms, engine.stream());
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) all[rank][block] = ranks[rank];
  }
  return all;
}

}  // namespace spd
