// The gradient of the residual stream: of what a rank sees and adds, by the levels of the syncs in
// between.
//
// What ResidualStream does going forward is linear, so this is its transpose. The loss is the same
// on every rank and so is its gradient by `base`, up to what each rank's own views contribute:
// those parts wait in local_r, and a full sync met on the way back sums them. Backwards, too, a
// dropped sync costs nothing.
#pragma once

#include <cstdint>

#include "comm/rank_comms.h"
#include "kernels/operators.h"
#include "model/sync_levels.h"

namespace spd {

class ResidualGradient {
 public:
  /// Buffers for steps of at most `max_tokens` tokens. Throws system Error when memory is short.
  ResidualGradient(Operators& operators, std::int64_t max_tokens, std::int64_t hidden);

  /// Begins at the end, right behind a full sync: `dout`, [tokens, hidden], the same on every rank.
  void begin(ConstActivations dout, Stream& stream);

  /// What going forward left at a sync point.
  struct Passed {
    SyncLevel level = SyncLevel::full;
    bool node_before = false;  ///< a node sync lies between this one and the full sync before it
    bool forgot = false;       ///< predictions made before it were forgotten at it
  };
  /// Passes a sync point backwards.
  void sync(const Passed& passed, const RankComms& comms, Stream& stream, const CallSite& site);

  /// Adds the gradient of what this rank saw at this place.
  void add_view(ConstActivations dview, Stream& stream);

  /// Gradient of a prediction made at this place, behind its sync.
  ConstActivations prediction() const { return active(predicted_); }

  /// Gradient of what this rank added at this place; valid until the next call.
  ConstActivations partial(Stream& stream);

  /// Gradient of the stream that the step began with, the same on every rank.
  ConstActivations base(const RankComms& comms, Stream& stream);

 private:
  Activations active(const Buffer& buffer) const;
  void sum_local(const RankComms& comms, Stream& stream, const CallSite& site);

  Operators& operators_;
  std::int64_t hidden_;
  std::int64_t tokens_ = 0;
  Buffer base_, local_, delta_, known_, sum_;
  Buffer predicted_;  // of all views up to where predictions are forgotten
  bool local_empty_ = true;
  bool known_empty_ = true;
  bool known_is_delta_ = true;  // at this place, going forward
};

}  // namespace spd
