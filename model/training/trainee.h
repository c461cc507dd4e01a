// Consecutive blocks of one rank under training, at the sync levels of a plan: forward, back, step.
//
// Going forward it is Transformer::run() on f32 masters. Going back, a rank works on its own shard
// alone up to the next full sync, where one all-reduce sums what the ranks' views contributed: one
// block with a dropped attention sync, trained on its own, needs none at all (arXiv 2502.20727,
// section 3.3).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/residual_stream.h"
#include "model/training/residual_gradient.h"
#include "model/training/trained_block.h"
#include "model/transformer.h"

namespace spd {

class Trainee {
 public:
  /// Blocks [first, last) of the transformer's shard, with the predictions of `repair`. The levels
  /// just before `first` and at the end must be full: throws usage Error otherwise.
  Trainee(Transformer& transformer, const RankRepair& repair, const SyncLevels& levels,
          std::int64_t first, std::int64_t last, Gradients& gradients,
          const TrainedBlockOptions& options, Stream& stream);

  /// x and the result: [tokens, hidden], the residual stream, the same on every rank. The result is
  /// valid until the next call. Segments begin at position 0, each in a slot of its own.
  ConstActivations forward(ConstActivations x, std::span<const Segment> segments, Stream& stream);

  /// From the gradient of forward()'s result, the same on every rank, to those of all parameters
  /// that are trained (added up over calls until step()).
  void backward(ConstActivations dout, Stream& stream);

  /// Over all ranks: sum of squares of the gradients.
  double squared_gradient(Stream& stream);
  void step(const AdamArgs& adam, Stream& stream);

  std::int64_t first() const { return first_; }
  std::int64_t last() const { return last_; }
  TrainedBlock& block(std::int64_t block) { return *blocks_.at(block - first_); }

 private:
  struct SubLayerStep {  // in the order of the forward pass
    std::int64_t block = 0;
    SyncPoint point = SyncPoint::attn;
    ResidualGradient::Passed sync;  // behind it
    bool predicted = false;         // whether the last forward() predicted what it left out
  };

  Transformer& transformer_;
  Operators& operators_;
  std::int64_t first_, last_;
  std::vector<std::unique_ptr<TrainedBlock>> blocks_;
  std::vector<SubLayerStep> steps_;
  std::vector<Segment> segments_;
  ResidualStream residual_;
  ResidualGradient gradient_;
  Buffer dview_;
  std::int64_t tokens_ = 0;
};

}  // namespace spd
