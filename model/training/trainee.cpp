#include "model/training/trainee.h"

#include <fmt/format.h>

#include "kernels/device/error.h"

namespace spd {

Trainee::Trainee(Transformer& transformer, const RankRepair& repair, const SyncLevels& levels,
                 std::int64_t first, std::int64_t last, Gradients& gradients,
                 const TrainedBlockOptions& options, Stream& stream)
    : transformer_(transformer),
      operators_(transformer.operators()),
      first_(first),
      last_(last),
      residual_(operators_, options.max_tokens, transformer.config().hidden),
      gradient_(operators_, options.max_tokens, transformer.config().hidden),
      dview_(operators_.device(),
             options.max_tokens * transformer.config().hidden * sizeof(float)) {
  const auto require_full = [&](std::int64_t block) {
    if (block < 0 || levels.at(block, SyncPoint::mlp) == SyncLevel::full) return;
    throw Error(ErrorCode::usage,
                fmt::format("blocks {} to {} cannot be trained on their own: the mlp sync of block "
                            "{} is left out",
                            first, last - 1, block),
                "train blocks up to the next full mlp sync together");
  };
  require_full(first - 1);
  require_full(last - 1);
  bool node = false;
  for (std::int64_t block = first; block < last; ++block) {
    blocks_.push_back(std::make_unique<TrainedBlock>(
        transformer.config(), block, transformer.shard().blocks.at(block), repair.at(block),
        transformer.rope(), operators_, gradients, options, stream));
    for (const SyncPoint point : kSyncPoints) {
      const SyncLevel level = levels.at(block, point);
      steps_.push_back({block, point, {level, node, false}, false});
      if (level != SyncLevel::drop) node = level == SyncLevel::node;
    }
  }
}

ConstActivations Trainee::forward(ConstActivations x, std::span<const Segment> segments,
                                  Stream& stream) {
  tokens_ = x.rows;
  segments_.assign(segments.begin(), segments.end());
  operators_.copy(x, residual_.begin(tokens_), stream);
  bool drop_predicted = false;  // since predictions were last forgotten
  for (SubLayerStep& step : steps_) {
    TrainedBlock& trained = block(step.block);
    const SyncLevel level = step.sync.level;
    operators_.copy(residual_.view(stream), trained.input(step.point, tokens_), stream);
    const auto partial = residual_.begin_partial();
    trained.run(step.point, segments_, partial.y, partial.accumulate, stream);
    residual_.end_partial(stream);
    residual_.add_shared_bias(trained.shared_bias(step.point), stream);
    residual_.sync(level, WireFormat::f32, transformer_.comms(), stream,
                   {name(step.point), static_cast<int>(step.block)});
    // As ResidualStream does it.
    step.sync.forgot = level == SyncLevel::full || (level == SyncLevel::node && drop_predicted);
    if (step.sync.forgot) drop_predicted = false;
    const auto correction = trained.correction(step.point, level, stream);
    step.predicted = correction.has_value();
    if (!correction) continue;
    residual_.correct_view(*correction, stream);
    drop_predicted |= level == SyncLevel::drop;
  }
  return residual_.view(stream);
}

void Trainee::backward(ConstActivations dout, Stream& stream) {
  gradient_.begin(dout, stream);
  const Activations dview{dview_.as<float>(), tokens_, dout.cols};
  for (std::size_t i = steps_.size(); i-- > 0;) {
    const SubLayerStep& step = steps_[i];
    TrainedBlock& trained = block(step.block);
    if (step.predicted) trained.correction_back(step.point, gradient_.prediction(), stream);
    gradient_.sync(step.sync, transformer_.comms(), stream,
                   {name(step.point), static_cast<int>(step.block)});
    trained.run_back(step.point, segments_, gradient_.partial(stream), dview, stream);
    if (i > 0) gradient_.add_view(dview, stream);
  }
}

double Trainee::squared_gradient(Stream& stream) {
  double sum = 0.0;
  for (const auto& trained : blocks_) sum += trained->squared_gradient(stream);
  const RankComms& comms = transformer_.comms();
  std::vector<double> all(comms.ranks());
  comms.world->all_gather(&sum, all.data(), sizeof(sum), stream, {"gradient"});
  double total = 0.0;
  for (const double one : all) total += one;
  return total;
}

void Trainee::step(const AdamArgs& adam, Stream& stream) {
  for (const auto& trained : blocks_) trained->step(adam, stream);
}

}  // namespace spd
