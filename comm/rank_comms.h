// What one rank holds of its peers: the groups that sync levels speak of, and who is where.
#pragma once

#include "comm/communicator.h"
#include "comm/topology.h"

namespace spd {

/// Pointers are not owned; the groups outlive their users.
struct RankComms {
  int rank = 0;
  Topology topology;
  Communicator* world = nullptr;  ///< all ranks: level `full`
  Communicator* node = nullptr;   ///< the ranks of this rank's node: level `node`

  int ranks() const { return topology.ranks(); }
};

}  // namespace spd
