// After a collective has failed: who is still there, and where is everyone?
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/collective.h"
#include "comm/launcher_word.h"
#include "comm/mpi_handle.h"
#include "comm/transport.h"

namespace spd {

struct Composite;

/// Where a rank of the job was when it answered. Sent between processes as it is.
struct Position {
  std::int32_t group = 0;  ///< the group it waited in, as numbered by the session
  CollectiveKind kind = CollectiveKind::barrier;
  WireFormat wire = WireFormat::f32;
  bool caller = true;  ///< gave up by itself, rather than because another had
  std::uint64_t bytes = 0;
  std::uint64_t sequence = 0;
  std::int32_t block = -1;
  char what[28] = {};

  static Position of(int group, const Collective& collective, bool caller);
  /// The call site points into this position.
  Collective collective() const;
};

/// One for the whole job, on a communicator of its own, shared by all groups of a rank. Whoever
/// gives up waiting posts its position to all ranks; whoever waits notices, stops waiting and posts
/// its own. Those who post nothing within the grace are missing: computing, stopped or dead.
class RollCall final : public Interrupt {
 public:
  using Milliseconds = Communicator::Milliseconds;

  /// Collective over `parent`, whose ranks are `job`. `grace`: how long to wait for the others.
  RollCall(MPI_Comm parent, GroupMembers job, Milliseconds grace);
  ~RollCall() override;

  /// Whether another rank has called: a wait can only end in a roll call.
  bool raised() override;

  /// Posts this rank's position and returns those of the ranks that answer within the grace, [ranks
  /// of the job]; its own is among them. Ranks of higher nodes than this rank's have half the
  /// grace; where a whole lower node is silent it is 0.5 s longer than that half, if the grace is
  /// not. Ends early when the launcher begins to end the job. Later calls return the first result.
  const std::vector<std::optional<Position>>& call(const Position& mine);
  /// Whether the launcher has done so since the call began: another rank has spoken.
  bool ended_by_launcher() const { return launcher_ && launcher_->given(); }
  /// Whether a roll call was held: the job is lost.
  bool held() const { return held_; }
  Milliseconds grace() const { return grace_; }
  /// The collective of a larger group that this rank's collectives are steps of, or null.
  const Composite* composite() const { return composite_; }
  void set_composite(const Composite* composite) { composite_ = composite; }
  const GroupMembers& job() const { return job_; }

 private:
  void collect();
  bool on_higher_node(int peer) const;
  bool lower_node_is_silent() const;

  MpiComm comm_;
  const GroupMembers job_;
  const Milliseconds grace_;
  bool held_ = false;
  std::optional<LauncherWord> launcher_;  // since the call began
  const Composite* composite_ = nullptr;
  int rank_ = 0;
  Position mine_;
  std::vector<Position> inbox_;                     // [ranks]
  std::vector<MPI_Request> receives_;               // [ranks], own: null
  std::vector<MPI_Request> sends_;                  // [ranks]
  std::vector<std::optional<Position>> positions_;  // [ranks]
};

}  // namespace spd
