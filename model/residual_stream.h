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
#pragma once

#include <cstdint>

#include "comm/rank_comms.h"
#include "kernels/operators.h"
#include "model/sync_plan.h"

namespace spd {

class ResidualStream {
 public:
  /// Buffers for steps of at most `max_tokens` tokens.
  ResidualStream(Operators& operators, std::int64_t max_tokens, std::int64_t hidden);

  /// Begins a step of `tokens` tokens. Returns base, [tokens, hidden], to be filled by the caller
  /// with what is identical on every rank (the embeddings).
  Activations begin(std::int64_t tokens);

  /// Adds a bias, [hidden], that is identical on every rank: once, to base. Null adds nothing.
  void add_shared_bias(const float* bias, Stream& stream);

  /// Where to write this rank's next partial, [tokens, hidden], and whether to add to what is
  /// there.
  struct Target {
    Activations y;
    bool accumulate = false;
  };
  Target begin_partial();
  /// To be called when the partial has been put on the stream.
  void end_partial(Stream& stream);

  /// Passes a sync point. All ranks of the groups concerned call it alike.
  void sync(SyncLevel level, const RankComms& comms, Stream& stream, const CallSite& site);

  /// What this rank sees: base + known, [tokens, hidden]. Valid until the next call.
  ConstActivations view(Stream& stream);

 private:
  Activations active(const Buffer& buffer) const;

  Operators& operators_;
  std::int64_t hidden_;
  std::int64_t tokens_ = 0;
  Buffer base_, delta_, known_, partial_, view_;
  bool delta_empty_ = true;     // no partial since the last full sync
  bool known_is_delta_ = true;  // no node sync since the last full sync
};

}  // namespace spd
