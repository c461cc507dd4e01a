// The residual stream in tensor parallelism, and what each sync level does to it.
//
// A rank holds
//   base     identical on every rank
//   delta_r  what rank r has added since the last full sync
//   known_r  what rank r knows of the sum of all deltas: its own, and what a `node` sync told it
// and sees base + known_r. A sync point does
//   full     base += sum over all ranks of delta; delta = known = 0
//   node     known_r = sum over the ranks of r's node of delta
//   drop     nothing
// and what a rank adds goes into both delta_r and known_r. Without node syncs known_r is delta_r,
// and this is SPD as in arXiv 2502.20727, section 3. (Keeping known_r past a later drop makes "one
// node" equal "full" in every plan, which forgetting it would not.)
//
// Behind a node or drop sync a prediction of what is missing may be added to what the rank sees
// (model/repair.h). Predictions add up until the true sum arrives: a full sync forgets them all, a
// node sync those that a drop called for, since part of what they stood for is then known.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "comm/rank_comms.h"
#include "kernels/operators.h"
#include "model/sync_levels.h"

namespace spd {

/// A residual stream taken out between two sub-layers, on the host, to go on from later. Each is
/// [tokens, hidden] row by row, or empty where there is nothing.
struct ResidualState {
  std::int64_t tokens = 0;
  std::vector<float> base;
  std::vector<float> delta;      ///< empty right after a full sync
  std::vector<float> known;      ///< empty where it is delta: no node sync since the last full one
  std::vector<float> predicted;  ///< empty where nothing of what is missing was predicted
  bool predicted_drop = false;   ///< part of `predicted` was meant for a level drop

  std::size_t bytes() const {
    return (base.size() + delta.size() + known.size() + predicted.size()) * sizeof(float);
  }
};

/// A prediction of what a sync leaves out: to_hidden z + mean. Device memory.
struct ViewCorrection {
  SyncLevel level = SyncLevel::drop;  ///< of the sync point just passed
  ConstActivations z;                 ///< [tokens, k]
  const Weight* to_hidden = nullptr;  ///< [hidden, k]; null: the mean alone
  const float* mean = nullptr;        ///< [hidden]
};

class ResidualStream {
 public:
  /// Buffers for steps of at most `max_tokens` tokens. Throws system Error when memory is short.
  ResidualStream(Operators& operators, std::int64_t max_tokens, std::int64_t hidden);

  /// Begins a step of `tokens` tokens. Returns base, [tokens, hidden], to be filled by the caller
  /// with what is identical on every rank (the embeddings).
  Activations begin(std::int64_t tokens);

  /// Adds a bias, [hidden], that is identical on every rank: once, to base. Null adds nothing. It
  /// must stay as it is until the next sync point is passed: a full sync adds it on its way.
  void add_shared_bias(const float* bias, Stream& stream);

  /// Where to write this rank's next partial, [tokens, hidden], and whether to add to what is
  /// there.
  struct Target {
    Activations y;
    bool accumulate = false;
  };
  Target begin_partial();
  /// The same, but the partial is kept apart, to be looked at until the next one.
  Target begin_separate_partial();
  /// To be called when the partial has been put on the stream.
  void end_partial(Stream& stream);

  /// Passes a sync point; what it sends travels as `wire`. All ranks of the groups concerned call
  /// it alike.
  void sync(SyncLevel level, WireFormat wire, const RankComms& comms, Stream& stream,
            const CallSite& site);

  /// Adds to the view, until a sync makes it obsolete. `correction` must stay as it is until the
  /// next one but one, or the next full sync.
  void correct_view(const ViewCorrection& correction, Stream& stream);

  /// What this rank sees: base + known + predicted, [tokens, hidden]. Valid until the next call.
  ConstActivations view(Stream& stream);

  /// base, and what this rank has added since the last full sync: no rows right after one.
  ConstActivations base(Stream& stream) {
    settle_bias(stream);
    return active(base_);
  }
  ConstActivations delta() const { return delta_empty_ ? ConstActivations() : active(delta_); }
  /// The partial that begin_separate_partial() gave out last.
  ConstActivations partial() const { return active(partial_); }

  /// Copies the state to the host; begins a step with such a copy. Both wait for the stream.
  ResidualState save(Stream& stream);
  void restore(const ResidualState& state, Stream& stream);

 private:
  Activations active(const Buffer& buffer) const;
  void forget_predictions();
  void settle_prediction(Stream& stream);
  void settle_bias(Stream& stream);

  Operators& operators_;
  std::int64_t hidden_;
  std::int64_t tokens_ = 0;
  Buffer base_, delta_, known_, partial_, view_, predicted_;
  const float* bias_ = nullptr;            // to be added to base still
  bool delta_empty_ = true;                // no partial since the last full sync
  bool separate_ = false;                  // the current partial is in partial_
  bool known_is_delta_ = true;             // no node sync since the last full sync
  std::optional<ViewCorrection> pending_;  // the latest one, put into the view as it is made
  bool predicted_empty_ = true;            // no prediction before that
  bool predicted_drop_ = false;
};

}  // namespace spd
