// The life of MPI in this process: start, who is where, groups, and an end that never hangs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/failure/start_watch.h"
#include "comm/job_network.h"
#include "comm/network.h"
#include "comm/process_group.h"
#include "comm/topology.h"

namespace spd {

/// Make one, early in main(); it must outlive the communicators it makes. Only the thread that made
/// it may use them (MPI_THREAD_FUNNELED).
class MpiSession {
 public:
  /// `deadline` is that of every collective, of the start (StartWatch::kLeastForStart at least: a
  /// rank that does not come ends the process with a message) and of the end of the session. `nic`:
  /// the interface or network ("10.77.0.0/24") that MPI is to listen on; empty: see
  /// choose_for_mpi(). Tells Open MPI by environment variables.
  MpiSession(int* argc, char*** argv, Communicator::Milliseconds deadline = kDefaultDeadline,
             std::string nic = "");
  /// Ends MPI when all ranks come to their ends, too; ends the job when one does not come within
  /// the deadline, or when this rank is leaving by an exception.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return world_.rank(); }
  int size() const { return world_.size(); }
  /// Nodes by shared memory (MPI_Comm_split_type), never by name.
  const Topology& topology() const { return topology_; }
  /// Whether every rank of this node has a core of its own.
  bool spin() const { return spin_; }

  /// A group of all ranks.
  std::unique_ptr<Communicator> world();
  /// A group of the ranks of this rank's node.
  std::unique_ptr<Communicator> node();
  /// The group of these ranks of the job, ascending, this one among them. Collective over the job:
  /// every rank names a group, those named alike are one.
  ProcessGroup group(const std::vector<int>& job_ranks);
  std::vector<int> all_ranks() const;
  /// Whether `mine` is true on every rank. Collective over the job.
  bool all_agree(bool mine) const;
  /// The least of all ranks' `mine`. Collective over the job.
  int least(int mine) const;
  /// The network across nodes: what --nic named, or what joins them. Collective over the job, the
  /// first time. Throws usage Error, on all ranks, where a node does not have what --nic names.
  const JobNetwork& network();
  std::vector<int> node_ranks() const { return topology_.ranks_of_node(topology_.node_of(rank())); }

  /// Ends the whole job with this status. A rank that is not the reporter of an error (see
  /// CommError) gives the one that is a moment to print it first.
  [[noreturn]] void abort(int status, bool reporter = true) noexcept;

 private:
  GroupMembers members(const std::vector<int>& job_ranks) const;
  void discover();
  /// Bounds the calls of MPI until it is gone.
  StartWatch watch(const char* what) const;

  Communicator::Milliseconds deadline_;
  int exceptions_at_start_;
  std::string nic_;
  MpiNetwork own_network_;
  std::unique_ptr<StartWatch> starting_;
  MpiComm world_;
  MpiComm node_;
  Topology topology_;
  std::vector<std::string> hosts_;  // [ranks]
  bool spin_ = false;
  std::shared_ptr<FailureDetector> failure_detector_;
  std::unique_ptr<Communicator> end_;  // for the barrier before the end of MPI
  int groups_made_ = 0;
  std::optional<JobNetwork> network_;
};

}  // namespace spd
