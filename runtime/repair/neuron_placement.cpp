#include "runtime/repair/neuron_placement.h"

#include <algorithm>
#include <numeric>

#include "runtime/repair/balanced_assignment.h"
#include "runtime/repair/mlp_refit.h"
#include "runtime/repair/residual_math.h"

namespace spd {
namespace {

constexpr std::int64_t kWindows = 4;  // enough: a neuron's error is one number

// Adds up each neuron's error on this rank's view, for all the block's neurons.
class PlacementObserver : public SyncObserver {
 public:
  PlacementObserver(Engine& engine, const BlockWeights& all)
      : engine_(engine), all_(all), error(all.neurons) {}

  void before_sync(const SyncPassage& passage, Stream& stream) override {
    truth_ = true_stream(engine_, passage, stream);
  }

  void after_sync(const SyncPassage& passage, Stream& stream) override {
    const std::int64_t tokens = passage.view.rows, hidden = passage.view.cols;
    Device& device = engine_.operators().device();
    const auto seen = neurons(passage.view, stream);
    Buffer buffer(device, truth_.size() * sizeof(float));
    device.upload(buffer.data(), truth_.data(), buffer.bytes(), stream);
    const auto wanted = neurons({buffer.as<float>(), tokens, hidden}, stream);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const double weight = 1.0 / (mean_square(truth_.data() + t * hidden, hidden) + 1e-12);
      for (std::int64_t n = 0; n < all_.neurons; ++n) {
        const double off = seen[t * all_.neurons + n] - wanted[t * all_.neurons + n];
        error[n] += weight * off * off;
      }
    }
  }

 private:
  std::vector<float> neurons(ConstActivations x, Stream& stream) {
    Device& device = engine_.operators().device();
    Buffer buffer(device, x.rows * all_.neurons * sizeof(float));
    const Activations y{buffer.as<float>(), x.rows, all_.neurons};
    const Norm norm = all_.norm.mlp.view();
    engine_.operators().linear({.x = x,
                                .norm = &norm,
                                .weight = &all_.gate_up,
                                .bias = all_.gate_up_bias.data(),
                                .epilogue = engine_.config().activation,
                                .accumulate = false,
                                .y = y},
                               stream);
    return to_host(device, y, stream);
  }

  Engine& engine_;
  const BlockWeights& all_;
  std::vector<float> truth_;

 public:
  std::vector<double> error;
};

}  // namespace

std::vector<BlockShard> place_neurons(Engine& engine, Calibration& calibration,
                                      const SyncLevels& levels) {
  const std::int64_t block = calibration.block(), neurons = engine.config().mlp;
  const RankComms& comms = engine.context().comms;
  Transformer& transformer = engine.transformer();
  Stream& stream = engine.stream();
  std::vector<BlockShard> shards = engine.plan().partition.blocks.at(block);

  BlockShard whole{shards[comms.rank].q_heads, std::vector<std::int32_t>(neurons)};
  std::iota(whole.neurons.begin(), whole.neurons.end(), 0);
  BlockWeights all;
  agree(comms, "loading a block", [&] {
    all = load_block(engine.config(), block, whole, engine.source(), engine.operators());
  });
  PlacementObserver observer(engine, all);
  transformer.set_observer(&observer);
  calibration.for_fit(kWindows, [&](std::int64_t) {
    transformer.run_sub_layer(block, SyncPoint::attn, levels, calibration.cache(), stream);
  });
  transformer.set_observer(nullptr);
  const HostMatrix down = read_weight(all.down, engine.operators().device(), stream);
  std::vector<double> size(neurons, 0.0);
  for (std::int64_t i = 0; i < down.rows; ++i) {
    for (std::int64_t n = 0; n < neurons; ++n) {
      size[n] += static_cast<double>(down.row(i)[n]) * down.row(i)[n];
    }
  }
  for (std::int64_t n = 0; n < neurons; ++n) observer.error[n] *= size[n];

  std::vector<double> gathered(neurons * comms.ranks());
  comms.world->all_gather(observer.error.data(), gathered.data(), neurons * sizeof(double), stream,
                          {"placing neurons"});
  std::vector<std::vector<double>> cost;
  std::vector<int> owner(neurons);
  for (int rank = 0; rank < comms.ranks(); ++rank) {
    cost.emplace_back(gathered.begin() + rank * neurons, gathered.begin() + (rank + 1) * neurons);
    for (const std::int32_t n : shards[rank].neurons) owner[n] = rank;
  }
  owner = assign_balanced(cost, owner);
  for (BlockShard& shard : shards) shard.neurons.clear();
  for (std::int64_t n = 0; n < neurons; ++n) {
    shards[owner[n]].neurons.push_back(static_cast<std::int32_t>(n));
  }
  return shards;
}

}  // namespace spd
