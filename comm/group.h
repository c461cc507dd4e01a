// What a group of processes shares besides its means of talking, and how it accounts for a failure.
#pragma once

#include <memory>

#include "comm/collective.h"
#include "comm/roll_call.h"
#include "comm/transport.h"

namespace spd {

struct GroupSettings {
  int id = 0;  ///< the same number for a group on all its ranks, different between groups
  GroupMembers members;
  Communicator::Milliseconds deadline = kDefaultDeadline;
  std::shared_ptr<RollCall> roll_call;  ///< null: nobody to ask (threads in tests)
  bool spin = false;                    ///< each rank of the node has a core of its own

  /// When a collective that begins now gives up waiting: the deadline less the grace of the roll
  /// call, so that both end within the deadline.
  Transport::Clock::time_point give_up_at() const;
};

/// A collective whose steps are collectives of smaller groups. While a rank is in one, what goes
/// wrong in a step is told of the whole: ranks name the collective that the model called.
struct Composite {
  const GroupSettings& group;
  int rank = 0;  ///< of the group
  Collective collective;
};
class CompositeScope {
 public:
  explicit CompositeScope(const Composite& composite);
  ~CompositeScope();
  CompositeScope(const CompositeScope&) = delete;
  CompositeScope& operator=(const CompositeScope&) = delete;

 private:
  RollCall* roll_call_;
};

/// Holds the roll call and makes the error that this rank throws: who is missing, who is elsewhere,
/// or between whom no data came through. `rank` is of the group, which may be a step of a
/// composite.
CommError account_for(const TransportFailure& failure, const GroupSettings& group, int rank,
                      const Collective& collective);

}  // namespace spd
