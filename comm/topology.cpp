#include "comm/topology.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/device/error.h"

namespace spd {

std::vector<int> Topology::ranks_of_node(int node) const {
  std::vector<int> members;
  for (int rank = 0; rank < ranks(); ++rank) {
    if (node_of_rank[rank] == node) members.push_back(rank);
  }
  return members;
}

int Topology::local_rank(int rank) const {
  const int node = node_of(rank);
  return static_cast<int>(std::count(node_of_rank.begin(), node_of_rank.begin() + rank, node));
}

std::vector<int> Topology::ranks_per_node() const {
  std::vector<int> counts(nodes(), 0);
  for (int node : node_of_rank) ++counts[node];
  return counts;
}

Topology Topology::contiguous(int ranks, int nodes) {
  if (ranks < 1 || nodes < 1 || nodes > ranks) {
    throw Error(ErrorCode::usage,
                fmt::format("cannot place {} rank(s) on {} node(s)", ranks, nodes),
                "give at least one rank a node and at least one node");
  }
  Topology topology;
  for (int node = 0; node < nodes; ++node) {
    const int first = static_cast<int>(static_cast<long>(ranks) * node / nodes);
    const int last = static_cast<int>(static_cast<long>(ranks) * (node + 1) / nodes);
    topology.node_of_rank.insert(topology.node_of_rank.end(), last - first, node);
    topology.node_names.push_back(fmt::format("node{}", node));
  }
  return topology;
}

}  // namespace spd
