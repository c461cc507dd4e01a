// A group of processes: its settings, the collective that encloses its own, and the diagnosis of a
// failure.
#pragma once

#include <memory>

#include "comm/failure/collective.h"
#include "comm/failure/failure_detector.h"
#include "comm/transport.h"

namespace spd {

struct GroupSettings {
  int id = 0;  ///< the same number for a group on all its ranks, different between groups
  GroupMembers members;
  Communicator::Milliseconds deadline = kDefaultDeadline;
  std::shared_ptr<FailureDetector> failure_detector;  ///< null: nobody to ask (threads in tests)
  bool spin = false;  ///< each rank of the node has a core of its own

  /// When a collective that begins now gives up waiting: the deadline less the failure detector's
  /// grace, so that both end within the deadline.
  Transport::Clock::time_point give_up_at() const;
};

/// A collective whose steps are collectives of smaller groups. While a rank is in one, the error of
/// a step names the whole: the collective that the model called.
struct EnclosingCollective {
  const GroupSettings& group;
  int rank = 0;  ///< of the group
  Collective collective;
};
class EnclosingScope {
 public:
  explicit EnclosingScope(const EnclosingCollective& enclosing);
  ~EnclosingScope();
  EnclosingScope(const EnclosingScope&) = delete;
  EnclosingScope& operator=(const EnclosingScope&) = delete;

 private:
  FailureDetector* failure_detector_;
};

/// Exchanges positions and makes the error that this rank throws: who is missing, who is elsewhere,
/// or between whom no data came through. `rank` is of the group, whose collective may be a step of
/// an enclosing one.
CommError diagnose(const TransportFailure& failure, const GroupSettings& group, int rank,
                   const Collective& collective);

}  // namespace spd
