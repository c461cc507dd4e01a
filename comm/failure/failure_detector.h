// The failure detector of a job: after a collective has failed, which ranks still answer, and in
// which collective each of them waits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/failure/collective.h"
#include "comm/failure/launcher_signal.h"
#include "comm/mpi_handle.h"
#include "comm/transport.h"

namespace spd {

struct EnclosingCollective;

/// Where a rank of the job was when it answered. Sent between processes as it is.
struct Position {
  std::int32_t group = 0;  ///< the group it waited in, as numbered by the session
  CollectiveKind kind = CollectiveKind::barrier;
  WireFormat wire = WireFormat::f32;
  bool detected = true;  ///< gave up by itself, rather than because another rank had
  std::uint64_t bytes = 0;
  std::uint64_t sequence = 0;
  std::int32_t block = -1;
  char what[28] = {};

  static Position of(int group, const Collective& collective, bool detected);
  /// The call site points into this position.
  Collective collective() const;
};

/// One for the whole job, on an MPI communicator of its own, shared by all groups of a rank.
/// Whoever gives up waiting sends its position to all ranks; whoever waits notices, stops waiting
/// and sends its own. Those who send nothing within the grace are missing: computing, stopped or
/// dead.
class FailureDetector final : public Interrupt {
 public:
  using Milliseconds = Communicator::Milliseconds;

  /// Collective over `parent`, whose ranks are `job`. `grace`: how long to wait for the others.
  /// Throws comm Error where MPI fails.
  FailureDetector(MPI_Comm parent, GroupMembers job, Milliseconds grace);
  ~FailureDetector() override;

  /// Whether another rank has sent its position: the collective under way will not end.
  bool raised() override;

  /// Sends this rank's position and returns those of the ranks that answer within the grace, [ranks
  /// of the job]; its own is among them. Ranks of higher nodes than this rank's have half the
  /// grace; where a whole lower node is silent it is 0.5 s longer than that half, if the grace is
  /// not. Ends early when the launcher begins to end the job. Later calls return the first result.
  const std::vector<std::optional<Position>>& exchange(const Position& mine);
  /// Whether the launcher has done so since the exchange began: another rank has reported.
  bool ended_by_launcher() const { return launcher_ && launcher_->received(); }
  /// Whether positions were exchanged: the job is lost.
  bool exchanged() const { return exchanged_; }
  Milliseconds grace() const { return grace_; }
  /// The collective of a larger group that this rank's collectives are steps of, or null.
  const EnclosingCollective* enclosing() const { return enclosing_; }
  void set_enclosing(const EnclosingCollective* enclosing) { enclosing_ = enclosing; }
  const GroupMembers& job() const { return job_; }

 private:
  void collect();
  bool on_higher_node(int peer) const;
  bool lower_node_is_silent() const;

  MpiComm comm_;
  const GroupMembers job_;
  const Milliseconds grace_;
  bool exchanged_ = false;
  std::optional<LauncherSignal> launcher_;  // since the exchange began
  const EnclosingCollective* enclosing_ = nullptr;
  int rank_ = 0;
  Position mine_;
  std::vector<Position> inbox_;                     // [ranks]
  std::vector<MPI_Request> receives_;               // [ranks], own: null
  std::vector<MPI_Request> sends_;                  // [ranks]
  std::vector<std::optional<Position>> positions_;  // [ranks]
};

}  // namespace spd
