#include "runtime/repair/block_repair.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/device/error.h"
#include "runtime/job/agreed_error.h"
#include "runtime/repair/mlp_refit.h"
#include "runtime/repair/neuron_placement.h"
#include "runtime/repair/residual_math.h"

namespace spd {
namespace {

// Feeds one sync point's passages to a fit.
class FitObserver : public SyncObserver {
 public:
  FitObserver(Engine& engine, SyncPoint point, PredictionFit& fit)
      : engine_(engine), point_(point), fit_(fit) {}

  void before_sync(const SyncPassage& passage, Stream& stream) override {
    if (passage.point != point_) return;
    Device& device = engine_.operators().device();
    const std::int64_t hidden = passage.base.cols, tokens = passage.base.rows;
    Buffer buffer(device, tokens * hidden * sizeof(float));
    const Activations normed{buffer.as<float>(), tokens, hidden};
    engine_.operators().norm(passage.input, passage.norm, normed, stream);
    input_ = to_host(device, normed, stream);
    inner_ = to_host(device, passage.inner, stream);
    inner_cols_ = passage.inner.cols;
    truth_ = true_stream(engine_, passage, stream);
  }

  void after_sync(const SyncPassage& passage, Stream& stream) override {
    if (passage.point != point_) return;
    const std::int64_t hidden = passage.view.cols, tokens = passage.view.rows;
    const auto view = to_host(engine_.operators().device(), passage.view, stream);
    // The next norm divides by the stream's size, and errors with it.
    std::vector<double> weight(tokens);
    for (std::int64_t t = 0; t < tokens; ++t) {
      weight[t] = 1.0 / (mean_square(truth_.data() + t * hidden, hidden) + 1e-12);
    }
    for (std::size_t i = 0; i < view.size(); ++i) truth_[i] -= view[i];  // now what is missing
    fit_.add({input_.data(), tokens, hidden}, {inner_.data(), tokens, inner_cols_},
             {truth_.data(), tokens, hidden}, weight);
  }

 private:
  Engine& engine_;
  SyncPoint point_;
  PredictionFit& fit_;
  std::vector<float> input_, inner_, truth_;
  std::int64_t inner_cols_ = 0;
};

class BlockRepairer {
 public:
  BlockRepairer(Engine& engine, Calibration& calibration, const SyncLevels& levels,
                const BlockRepairOptions& options, BlockRepair& repair)
      : engine_(engine),
        transformer_(engine.transformer()),
        calibration_(calibration),
        levels_(levels),
        options_(options),
        block_(calibration.block()),
        repair_(repair) {}

  PointOutcome attn() {
    begin(SyncPoint::attn);
    SyncLevels full = levels_;
    full.at(block_, SyncPoint::attn) = full.at(block_, SyncPoint::mlp) = SyncLevel::full;
    calibration_.for_fit([&] { targets_.push_back(run_block(full)); });
    if (outcome_.block_class == BlockClass::insensitive) return outcome_;
    if (options_.grouping && outcome_.block_class == BlockClass::extreme) group();
    if (options_.prediction) predict();
    if (options_.placement) place();
    if (options_.refit) refit();
    return outcome_;
  }

  PointOutcome mlp() {
    begin(SyncPoint::mlp);
    if (options_.prediction && outcome_.block_class != BlockClass::insensitive) predict();
    return outcome_;
  }

 private:
  void begin(SyncPoint point) {
    outcome_ = {};
    outcome_.point = point_ = point;
    outcome_.level = levels_.at(block_, point);
    reference_ = outputs(true);
    error_ = relative_error(outputs(false), reference_, engine_.config().hidden);
    if (!std::isfinite(error_)) {
      throw AgreedError(
          ErrorCode::input,
          fmt::format("block {}: its output is not finite on the calibration text", block_),
          "check the model's weights for NaN and infinities");
    }
    outcome_.block_class = options_.thresholds.classify(error_);
    outcome_.steps.push_back({"none", error_, true});
  }

  // Notes a step that is in effect; true if it is to be kept.
  bool note(const std::string& what, double least_gain = 0.0) {
    const double reached = relative_error(outputs(false), reference_, engine_.config().hidden);
    const bool better = error_ - reached > least_gain;
    outcome_.steps.push_back({what, reached, better});
    if (better) error_ = reached;
    return better;
  }

  void group() {
    const auto before = engine_.plan().partition.blocks.at(block_);
    const Grouping grouping = group_heads(engine_, calibration_, levels_, targets_, options_.heads);
    if (grouping.changed && note("grouping")) return;
    split(before);
  }

  void split(const std::vector<BlockShard>& shards) {
    engine_.repartition(block_, shards);
    calibration_.renew_cache();
    reinstall();
  }

  void predict() {
    const BlockWeights& weights = transformer_.shard().blocks[block_];
    const std::int64_t hidden = engine_.config().hidden;
    const bool attn = point_ == SyncPoint::attn;
    PredictionFit fit(hidden, attn ? weights.o.cols : weights.neurons, hidden,
                      prediction_type(weights.qkv.dtype));
    FitObserver observer(engine_, point_, fit);
    transformer_.set_observer(&observer);
    calibration_.for_fit([&] {
      for (const SyncPoint point : kSyncPoints) {
        transformer_.run_sub_layer(block_, point, levels_, calibration_.cache(), engine_.stream());
        if (point == point_) break;
      }
    });
    transformer_.set_observer(nullptr);
    agree(engine_.context().comms, "fitting a prediction", [&] { fit.solve(options_.ridge); });

    std::optional<Prediction> kept;
    const double least_gain = options_.worth * error_;
    std::vector<std::int64_t> ks = {0};
    ks.insert(ks.end(), options_.ks.begin(), options_.ks.end());
    for (const std::int64_t k : ks) {
      repair_.prediction[point_] = fit.prediction(k, outcome_.level);
      reinstall();
      if (!note(k == 0 ? "mean" : fmt::format("k{}", k), least_gain)) continue;
      for (RepairStep& step : outcome_.steps) {  // it takes the place of a smaller one
        const bool smaller = step.what == "mean" || step.what[0] == 'k';
        if (smaller && &step != &outcome_.steps.back()) step.kept = false;
      }
      kept = repair_.prediction[point_];
    }
    repair_.prediction[point_] = kept;
    reinstall();
  }

  void place() {
    const auto before = engine_.plan().partition.blocks.at(block_);
    split(place_neurons(engine_, calibration_, levels_));
    if (!note("placement")) split(before);
  }

  void refit() {
    refit_down(engine_, calibration_, levels_, options_.refit_ridge, targets_, repair_);
    reinstall();
    if (note("refit")) return;
    repair_.weights.clear();
    reinstall();
  }

  void reinstall() {
    install(repair_, transformer_.shard().blocks[block_], engine_.operators(),
            fmt::format("block {} rank {}", block_, engine_.context().rank()));
  }

  std::vector<float> run_block(const SyncLevels& levels) {
    return to_host(
        engine_.operators().device(),
        transformer_.run(block_, block_ + 1, levels, calibration_.cache(), engine_.stream()),
        engine_.stream());
  }

  // What held-out tokens become: behind the block where its attn point is judged, behind the next
  // attention where its mlp point is. `full`: with that sync paid for. The same on all ranks.
  std::vector<float> outputs(bool full) {
    SyncLevels levels = levels_;
    if (full) levels.at(block_, point_) = SyncLevel::full;
    if (point_ == SyncPoint::attn) {
      levels.at(block_, SyncPoint::mlp) = SyncLevel::full;
    } else {
      levels.at(block_ + 1, SyncPoint::attn) = SyncLevel::full;
    }
    std::vector<float> all;
    calibration_.for_held_out([&] {
      std::vector<float> values = run_block(levels);
      if (point_ == SyncPoint::mlp) {
        values = to_host(engine_.operators().device(),
                         transformer_.run_sub_layer(block_ + 1, SyncPoint::attn, levels,
                                                    calibration_.cache(), engine_.stream()),
                         engine_.stream());
      }
      all.insert(all.end(), values.begin(), values.end());
    });
    return all;
  }

  Engine& engine_;
  Transformer& transformer_;
  Calibration& calibration_;
  const SyncLevels& levels_;
  const BlockRepairOptions& options_;
  std::int64_t block_;
  BlockRepair& repair_;
  SyncPoint point_ = SyncPoint::attn;
  PointOutcome outcome_;
  double error_ = 0.0;
  std::vector<float> reference_;             // of the held-out windows
  std::vector<std::vector<float>> targets_;  // a fit window each
};

// Whether ranks miss anything behind a sync of this level.
bool misses(SyncLevel level, const Topology& topology) {
  if (level == SyncLevel::full || topology.ranks() == 1) return false;
  return level == SyncLevel::drop || topology.ranks_per_node().size() > 1;
}

}  // namespace

double PointOutcome::after() const {
  double error = 0.0;
  for (const RepairStep& step : steps) {
    if (step.kept) error = step.error;
  }
  return error;
}

std::string PointOutcome::methods() const {
  std::string text;
  for (const RepairStep& step : steps) {
    if (!step.kept || step.what == "none") continue;
    if (!text.empty()) text += " + ";
    text += step.what;
  }
  return text.empty() ? "none" : text;
}

std::vector<PointOutcome> repair_block(Engine& engine, Calibration& calibration,
                                       const SyncLevels& levels, const BlockRepairOptions& options,
                                       BlockRepair& repair) {
  BlockRepairer repairer(engine, calibration, levels, options, repair);
  const Topology& topology = engine.context().comms.topology;
  std::vector<PointOutcome> outcomes;
  if (misses(levels.at(calibration.block(), SyncPoint::attn), topology)) {
    outcomes.push_back(repairer.attn());
  }
  if (misses(levels.at(calibration.block(), SyncPoint::mlp), topology)) {
    outcomes.push_back(repairer.mlp());
  }
  return outcomes;
}

}  // namespace spd
