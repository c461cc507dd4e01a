// The communicator of several nodes: collectives as steps within each node and steps across nodes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/failure/group.h"
#include "comm/topology.h"

namespace spd {

/// Rail l is the group of the ranks with local rank l, one of each node; there are as many rails as
/// the smallest node has ranks. An all-reduce is a sum within each node, sums of chunks over the
/// rails (or of everything over rail 0, by the leaders), and a copy within each node. See
/// comm/README.md.
class HierarchicalCommunicator final : public Communicator {
 public:
  struct Settings {
    int rails = 1;                     ///< rails to use, at most as many as there are
    std::size_t rails_from_bytes = 0;  ///< payloads below are summed up by the leaders alone
    const char* across_backend = "";   ///< the rails' backend, for ranks that are on none
  };

  /// `node`: the ranks of this rank's node, in order; may be in use elsewhere, too, as long as all
  /// ranks agree on the order of calls. `rail`: null on ranks beyond the last rail.
  /// `world`: all ranks; what goes wrong in a step is told of the whole.
  HierarchicalCommunicator(const Topology& topology, int rank, std::shared_ptr<Communicator> node,
                           std::shared_ptr<Communicator> rail, GroupSettings world,
                           Settings settings);

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(node_ranks_.size()); }
  /// "shm+ucx".
  const char* backend() const override { return name_.c_str(); }
  Traffic traffic() const override;

 private:
  void do_all_reduce(float* data, std::size_t count, WireFormat wire, Stream&,
                     const CallSite&) override;
  void do_all_gather(const void* send, void* recv, std::size_t bytes, Stream&,
                     const CallSite&) override;
  void do_broadcast(void* data, std::size_t bytes, int root, Stream&, const CallSite&) override;
  void do_barrier(const CallSite&) override;

  template <class Body>
  void run(CollectiveKind kind, std::size_t bytes, const CallSite& site, const Body& body,
           WireFormat wire = WireFormat::f32);
  bool leader() const { return node_->rank() == 0; }

  struct NodeRank {
    int node;
    int local;
  };
  std::vector<NodeRank> node_ranks_;  // [ranks]
  int nodes_;
  int largest_node_;  // ranks
  int rank_;
  std::shared_ptr<Communicator> node_;
  std::shared_ptr<Communicator> rail_;
  GroupSettings world_;
  Settings settings_;
  std::string name_;
  std::uint64_t sequence_ = 0;
  std::vector<std::byte> staging_;  // of all_gather: [nodes][largest_node][bytes]
};

}  // namespace spd
