// A rank's communicators: the groups that sync levels speak of, and who is where.
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
  Communicator* cross = nullptr;  ///< one rank of each node; null on the others, and where `world`
                                  ///< is not hierarchical

  bool world_covers_node = false;  ///< what the node sends is counted in the world's traffic

  /// What this rank has sent in all groups.
  Traffic traffic() const {
    Traffic sum = world->traffic();
    if (!world_covers_node) sum += node->traffic();
    return sum;
  }
  int ranks() const { return topology.ranks(); }
};

}  // namespace spd
