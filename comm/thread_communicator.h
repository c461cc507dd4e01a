// The communicator of threads: virtual ranks of one process, on virtual nodes.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "comm/communicator.h"
#include "comm/thread_hub.h"
#include "comm/topology.h"

namespace spd {

/// A rank's end of a ThreadHub. Host memory. Sums are those of a hierarchical all-reduce to the
/// bit: each node's ranks are summed in rank order, encoded and decoded (see WireFormat), the nodes
/// summed in order, the result encoded and decoded. In a group within one node each rank takes the
/// part of a node.
class ThreadCommunicator final : public Communicator {
 public:
  /// `contribution`: which partial sum the rank belongs to, its node or itself.
  ThreadCommunicator(std::shared_ptr<ThreadHub> hub, int rank, int contribution)
      : hub_(std::move(hub)), rank_(rank), contribution_(contribution) {}

  int rank() const override { return rank_; }
  int size() const override { return hub_->members().size(); }
  const char* backend() const override { return "thread"; }

 private:
  void do_all_reduce(float* data, std::size_t count, WireFormat wire, Stream&,
                     const CallSite&) override;
  void do_all_gather(const void* send, void* recv, std::size_t bytes, Stream&,
                     const CallSite&) override;
  void do_broadcast(void* data, std::size_t bytes, int root, Stream&, const CallSite&) override;
  void do_barrier(const CallSite&) override;
  Collective next(CollectiveKind kind, std::size_t bytes, const CallSite& site);

  std::shared_ptr<ThreadHub> hub_;
  int rank_;
  int contribution_;
  std::uint64_t sequence_ = 0;
};

/// The groups of R thread ranks: that of all ranks and one a node.
class ThreadGroup {
 public:
  explicit ThreadGroup(Topology topology, Communicator::Milliseconds deadline = kDefaultDeadline);
  /// All ranks on one node.
  explicit ThreadGroup(int ranks, Communicator::Milliseconds deadline = kDefaultDeadline)
      : ThreadGroup(Topology::contiguous(ranks, 1), deadline) {}

  const Topology& topology() const { return topology_; }
  /// The communicator of `rank` in the group of all ranks. Make one a rank.
  std::unique_ptr<Communicator> world(int rank) const;
  /// The communicator of `rank` in the group of its node.
  std::unique_ptr<Communicator> node(int rank) const;

  /// Says that `rank` has failed: every rank that waits in a collective of any group, or calls one
  /// later, throws a comm Error with this message. The first failure is the one that is told.
  void fail(int rank, const std::string& message);

  /// Runs body(rank) on one thread a rank and waits for all of them. A body that throws fails its
  /// rank, which ends the others; the first exception is thrown again here.
  void run(const std::function<void(int rank)>& body);

 private:
  Topology topology_;
  std::mutex fail_mutex_;
  std::shared_ptr<ThreadHub> world_;
  std::vector<std::shared_ptr<ThreadHub>> nodes_;  // [nodes]
};

}  // namespace spd
