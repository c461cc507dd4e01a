// The transformer, one rank of it: tensor-parallel, decoder-only; tokens in, its shard of the
// logits out.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/rank_comms.h"
#include "kernels/operators.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/partition.h"
#include "model/profile.h"
#include "model/residual_stream.h"
#include "model/shard.h"
#include "model/sync_levels.h"
#include "model/sync_observer.h"

namespace spd {

struct TransformerOptions {
  std::int64_t max_tokens = 512;  ///< tokens of one step at most (longer prompts take several)
  std::int64_t max_length = 0;    ///< longest sequence; 0: the model's max_positions
};

class Transformer {
 public:
  /// References must outlive the transformer. Throws system Error when memory is short.
  Transformer(const ModelConfig& config, const Partition& partition, Shard shard,
              Operators& operators, const RankComms& comms, const TransformerOptions& options);

  /// Runs every block on `tokens` (host), which are arranged in `segments`, at the sync levels
  /// given; the cache receives their keys and values. Returns the final residual stream,
  /// [tokens, hidden], before the final norm; valid until the next call. All ranks call it alike.
  /// Throws internal Error for more tokens than max_tokens, usage Error for ids out of range.
  ConstActivations forward(std::span<const std::int32_t> tokens, std::span<const Segment> segments,
                           const SyncLevels& levels, KvCache& cache, Stream& stream);

  /// forward() in parts, so that block inputs can be kept and single blocks run again. begin()
  /// starts a step with the tokens' embeddings, or with a state that save() took (or that holds a
  /// residual stream, the same on every rank, as its base). run() takes it through blocks [first,
  /// last) and returns what this rank then sees, [tokens, hidden], valid until the next call: the
  /// residual stream itself where the last sync was full. Throw as forward() does.
  void begin(std::span<const std::int32_t> tokens, std::span<const Segment> segments,
             Stream& stream);
  void begin(const ResidualState& state, std::span<const Segment> segments, Stream& stream);
  ConstActivations run(std::int64_t first, std::int64_t last, const SyncLevels& levels,
                       KvCache& cache, Stream& stream);
  /// One half of a block: attention, or the MLP, and the sync point behind it.
  ConstActivations run_sub_layer(std::int64_t block, SyncPoint point, const SyncLevels& levels,
                                 KvCache& cache, Stream& stream);
  ResidualState save(Stream& stream) { return residual_.save(stream); }

  /// Shows every sync point to `observer` until it is set to null; not owned. Costs copies.
  void set_observer(SyncObserver* observer) { observer_ = observer; }

  /// Final norm and this rank's vocabulary rows: hidden [n, hidden] to y [n, local vocabulary].
  /// `hidden` is a row range of forward()'s result, or a copy of one.
  void logits(ConstActivations hidden, Activations y, Stream& stream);

  const ModelConfig& config() const { return config_; }
  const TransformerOptions& options() const { return options_; }
  /// Angles of the positions up to max_length; null where positions are learned.
  const RopeTable* rope() const { return config_.rope ? &rope_ : nullptr; }
  VocabRange vocab_range() const { return vocab_; }
  Operators& operators() { return operators_; }
  const RankComms& comms() const { return comms_; }
  /// Replaces the peers, e.g. by ones that do nothing (the no-comm bound).
  void set_comms(const RankComms& comms) { comms_ = comms; }
  /// Whether predictions of what a view lacks are made where there are any; they are at first.
  void use_predictions(bool used) { use_predictions_ = used; }
  Profile& profile() { return profile_; }
  /// The weights, to be replaced between steps by others of the same shapes.
  Shard& shard() { return shard_; }
  /// Replaces one block's weights by those of another split over the ranks.
  void replace_block(std::int64_t block, BlockWeights weights);
  const Shard& shard() const { return shard_; }
  /// The weights that a step of one token reads, in the order of its reading.
  std::vector<const Weight*> weights_read() const;
  /// Their bytes on the device.
  std::size_t weight_bytes() const;

 private:
  /// A sub-layer under way, handed on from its first product to the sync behind it. Views are of
  /// the step's tokens and valid until the sub-layer is done.
  struct SubLayer {
    std::int64_t block = 0;
    SyncPoint point = SyncPoint::attn;
    SyncLevel level = SyncLevel::full;
    WireFormat wire = WireFormat::f32;
    SubLayerWeights weights;  ///< `prediction` only where this step uses it
    ConstActivations input;   ///< [hidden]: what it sees, before its norm
    ConstActivations inner;   ///< [inner]: the heads' outputs, or the neurons
    Activations factors;      ///< [k], of the prediction; no data where there is none

    /// The factors' parts, as products made beside the sub-layer's own.
    SideProduct input_factors() const;
    SideProduct inner_factors() const;
  };

  void make_workspaces();
  void begin_step(std::int64_t tokens, std::span<const Segment> segments);
  void embed(std::span<const std::int32_t> tokens, Stream& stream);
  void run_sub_layer(std::int64_t block, SyncPoint point, const SyncLevels& levels, KvCache& cache,
                     LapTimer& timer, Stream& stream);
  SubLayer begin_sub_layer(std::int64_t block, SyncPoint point, const SyncLevels& levels,
                           LapTimer& timer, Stream& stream);
  ConstActivations attention(const SubLayer& layer, const KvLayer& cache, LapTimer& timer,
                             Stream& stream);
  ConstActivations mlp(const SubLayer& layer, Stream& stream);
  void add_partial(const SubLayer& layer, Stream& stream);
  void sync(const SubLayer& layer, LapTimer& timer, Stream& stream);
  SyncPassage show_before_sync(const SubLayer& layer, Stream& stream);
  Activations next_factors(const PredictionWeights& prediction);

  const ModelConfig& config_;
  Shard shard_;
  VocabRange vocab_;
  Operators& operators_;
  RankComms comms_;
  TransformerOptions options_;
  RopeTable rope_;
  ResidualStream residual_;
  Buffer qkv_, attention_, mlp_, positions_;
  std::vector<Segment> segments_;  // of the step under way
  std::int64_t tokens_ = 0;
  bool use_predictions_ = true;
  SyncObserver* observer_ = nullptr;
  Buffer observed_input_;  // copies for the observer: the view is gone by the time of the sync
  // Of predictions, in turn: the last one's factors are still needed while the next are made.
  std::array<Buffer, 2> factors_;
  std::size_t predictions_ = 0;  // made so far
  Profile profile_;
};

}  // namespace spd
