// The topology of a job: which ranks share a node.
#pragma once

#include <string>
#include <vector>

namespace spd {

/// Ranks and the nodes they run on. Nodes are numbered 0.. in the order of their lowest rank.
struct Topology {
  std::vector<int> node_of_rank;        ///< [ranks]
  std::vector<std::string> node_names;  ///< [nodes], for messages only

  int ranks() const { return static_cast<int>(node_of_rank.size()); }
  int nodes() const { return static_cast<int>(node_names.size()); }
  int node_of(int rank) const { return node_of_rank.at(rank); }
  /// Ranks of a node, ascending.
  std::vector<int> ranks_of_node(int node) const;
  /// Index of a rank among the ranks of its node.
  int local_rank(int rank) const;
  /// Ranks a node, by node: {2, 2}, {3, 1}, ...
  std::vector<int> ranks_per_node() const;

  /// `ranks` ranks over `nodes` virtual nodes in contiguous, near-equal groups.
  /// Throws usage Error unless 1 <= nodes <= ranks.
  static Topology contiguous(int ranks, int nodes);
};

}  // namespace spd
