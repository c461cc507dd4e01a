// A decoder block under training, one rank's part of it: forward with what the way back needs kept,
// and back.
//
// The two sub-layers are addressed by the sync point behind them. A step is whole sequences from
// position 0, each a segment in a cache slot of its own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "kernels/gradients.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/repair.h"
#include "model/residual_stream.h"
#include "model/shard.h"
#include "model/training/trained_prediction.h"
#include "model/training/trained_tensor.h"

namespace spd {

/// Which parameters move. Biases that ranks share, norms of heads and biases of norms never do.
struct TrainedParts {
  bool attention = true;   ///< qkv and o, with qkv's bias
  bool mlp = true;         ///< gate, up and down, with up's bias
  bool norms = true;       ///< weights of both norms; each rank has its own
  bool prediction = true;  ///< of what a missed sync leaves out
};

struct TrainedBlockOptions {
  std::int64_t max_tokens = 512;  ///< of a step
  std::int64_t max_segments = 1;
  std::int64_t max_length = 512;  ///< of a segment
  TrainedParts parts;
};

class TrainedBlock {
 public:
  /// Starts from a block's weights of any type and the predictions of `repair`. `rope` (null: none)
  /// and the other references must outlive it.
  TrainedBlock(const ModelConfig& config, std::int64_t block, const BlockWeights& weights,
               const BlockRepair& repair, const RopeTable* rope, Operators& operators,
               Gradients& gradients, const TrainedBlockOptions& options, Stream& stream);

  /// Where to put what a sub-layer sees, [tokens, hidden], before it runs. Kept for the way back.
  Activations input(SyncPoint point, std::int64_t tokens);
  /// Runs the sub-layer in front of `point` on its input: partial, [tokens, hidden], (+)= its part
  /// of the sum.
  void run(SyncPoint point, std::span<const Segment> segments, Activations partial, bool accumulate,
           Stream& stream);
  /// What the sub-layer adds on every rank alike, [hidden] on the device; may be null.
  const float* shared_bias(SyncPoint point) const { return tensors_[point].shared_bias.data(); }
  /// What a sync of `level` at `point` will leave out, if there is a prediction of it; after run().
  std::optional<ViewCorrection> correction(SyncPoint point, SyncLevel level, Stream& stream);

  /// Back through correction(), from the gradient of the predicted sum, [tokens, hidden]. Before
  /// run_back() of the same point.
  void correction_back(SyncPoint point, ConstActivations dcorrection, Stream& stream);
  /// Back through run(): the gradient of the partial in, that of the input out.
  void run_back(SyncPoint point, std::span<const Segment> segments, ConstActivations dpartial,
                Activations dinput, Stream& stream);

  double squared_gradient(Stream& stream) const;
  void step(const AdamArgs& adam, Stream& stream);

  /// What is trained, as repairs: predictions, and weights by name; and what the repair that it
  /// started from replaced beside those.
  BlockRepair repaired(Stream& stream) const;
  /// The gradients of the same, under the same names.
  BlockRepair gradients(Stream& stream) const;
  /// Takes parameters from such a repair; what it lacks stays.
  void restore(const BlockRepair& repair, Stream& stream);

 private:
  /// Of one sub-layer, as SubLayerWeights.
  struct SubLayerTensors {
    TrainedTensor norm, norm_bias, in, in_bias, out, shared_bias;
  };
  /// Of one sub-layer: what its way back needs.
  struct Tape {
    Buffer input;   // [tokens, hidden]
    Buffer normed;  // [tokens, hidden]
    Buffer inner;   // [tokens, inner]
    Buffer dnormed, dinner;
    std::int64_t inner_cols = 0;
    TrainedPrediction::Written written;  // of dnormed and dinner, by correction_back
  };

  Norm norm(SyncPoint point) const;
  Norm head_norm(const TrainedTensor& weight) const;
  KvLayer cache() const;
  /// visit(name in repairs, tensor) for all tensors.
  template <class Self, class Visit>
  static void for_named(Self& self, Visit&& visit);
  template <class Visit>
  void for_trained(Visit&& visit) const;

  void load_tensors(const BlockWeights& weights, Stream& stream);
  void make_workspaces(const BlockWeights& weights);
  /// What `download(tensor)` makes of all that is trained.
  template <class Download>
  BlockRepair collect(Download&& download) const;
  TrainedPrediction::Features features(SyncPoint point) const;
  TrainedPrediction::Features dfeatures(SyncPoint point) const;
  void attend(std::span<const Segment> segments, Stream& stream);
  void attend_back(std::span<const Segment> segments, ConstActivations dmixed, Stream& stream);

  const ModelConfig& config_;
  std::int64_t block_;
  Operators& operators_;
  Gradients& gradients_;
  const RopeTable* rope_;
  TrainedBlockOptions options_;
  std::vector<std::int32_t> kv_head_of_;
  std::int64_t q_heads_, kv_heads_, neurons_;
  PerPoint<SubLayerTensors> tensors_;
  TrainedTensor q_norm_, k_norm_;
  std::map<std::string, HostMatrix> untrained_;  // replaced by the repair, and left at that
  PerPoint<TrainedPrediction> predictions_;
  PerPoint<Tape> tapes_;
  Buffer keys_, values_;  // the cache, f32
  Buffer qkv_;            // [tokens, (q + 2 kv) * head_dim], rotated
  Buffer raw_qkv_;        // the same before heads' norms, where there are any
  Buffer pre_;            // [tokens, rows of gate_up]
  Buffer dqkv_;
  std::int64_t tokens_ = 0;
};

}  // namespace spd
