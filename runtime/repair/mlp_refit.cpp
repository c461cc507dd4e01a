#include "runtime/repair/mlp_refit.h"

#include <algorithm>

#include "runtime/repair/residual_math.h"
#include "runtime/repair/ridge_fit.h"

namespace spd {
namespace {

constexpr CallSite kSite{"refitting"};

// All ranks' neurons against what the block's output lacks. Each rank adds up every R-th window.
class DownObserver : public SyncObserver {
 public:
  DownObserver(Engine& engine, const std::vector<std::int64_t>& neurons,
               const std::vector<std::vector<float>>& targets, RidgeFit& fit)
      : engine_(engine),
        neurons_(neurons),
        widest_(*std::max_element(neurons.begin(), neurons.end())),
        targets_(targets),
        fit_(fit) {}

  void before_sync(const SyncPassage& passage, Stream& stream) override {
    if (passage.point != SyncPoint::mlp) return;
    const std::int64_t tokens = passage.inner.rows, hidden = passage.base.cols;
    const RankComms& comms = engine_.context().comms;
    Device& device = engine_.operators().device();
    const auto mine = to_host(device, passage.inner, stream);
    std::vector<float> padded(tokens * widest_);
    std::copy(mine.begin(), mine.end(), padded.begin());
    std::vector<float> all(padded.size() * comms.ranks());
    comms.world->all_gather(padded.data(), all.data(), padded.size() * sizeof(float), stream,
                            kSite);
    auto lacking = true_stream(engine_, passage, stream);
    const std::size_t window = window_++;
    if (static_cast<int>(window % comms.ranks()) != comms.rank) return;
    std::vector<double> weight(tokens);
    const std::vector<float>& target = targets_.at(window);
    for (std::int64_t t = 0; t < tokens; ++t) {
      weight[t] = 1.0 / (mean_square(target.data() + t * hidden, hidden) + 1e-12);
    }
    for (std::size_t i = 0; i < lacking.size(); ++i) lacking[i] = target[i] - lacking[i];
    std::vector<ConstActivations> groups;
    for (int rank = 0; rank < comms.ranks(); ++rank) {
      groups.emplace_back(all.data() + rank * padded.size(), tokens, neurons_[rank]);
    }
    fit_.add(groups, {lacking.data(), tokens, hidden}, weight);
  }

 private:
  Engine& engine_;
  const std::vector<std::int64_t>& neurons_;
  std::int64_t widest_;
  const std::vector<std::vector<float>>& targets_;
  RidgeFit& fit_;
  std::size_t window_ = 0;
};

// Sums over ranks; f32 on the way, which is enough for a ridge of 1e-6 and more.
void sum_over_ranks(DenseMatrix& matrix, const RankComms& comms, Stream& stream) {
  std::vector<float> values(matrix.values.begin(), matrix.values.end());
  comms.world->all_reduce(values.data(), values.size(), stream, kSite);
  std::copy(values.begin(), values.end(), matrix.values.begin());
}

}  // namespace

HostMatrix read_weight(const Weight& weight, Device& device, Stream& stream) {
  const std::size_t row_bytes = weight.stride * size_of(weight.dtype);
  std::vector<std::byte> raw(weight.rows * row_bytes);
  device.download(raw.data(), weight.storage.data(), raw.size(), stream);
  stream.synchronize();
  HostMatrix matrix(weight.rows, weight.cols);
  for (std::int64_t i = 0; i < weight.rows; ++i) {
    convert(raw.data() + i * row_bytes, weight.dtype, matrix.row(i), DType::f32, weight.cols);
  }
  return matrix;
}

HostMatrix read_vector(const DeviceVector& vector, std::int64_t size, Device& device,
                       Stream& stream) {
  if (!vector.data()) return {};
  HostMatrix matrix(1, size);
  device.download(matrix.values.data(), vector.data(), size * sizeof(float), stream);
  stream.synchronize();
  return matrix;
}

void refit_down(Engine& engine, Calibration& calibration, const SyncLevels& levels, double ridge,
                const std::vector<std::vector<float>>& targets, BlockRepair& repair) {
  const std::int64_t block = calibration.block(), hidden = engine.config().hidden;
  Transformer& transformer = engine.transformer();
  const RankComms& comms = engine.context().comms;
  Stream& stream = engine.stream();
  std::vector<std::int64_t> neurons;
  for (const BlockShard& shard : engine.plan().partition.blocks.at(block)) {
    neurons.push_back(static_cast<std::int64_t>(shard.neurons.size()));
  }
  RidgeFit fit(neurons, hidden);
  DownObserver observer(engine, neurons, targets, fit);
  SyncLevels summed = levels;
  summed.at(block, SyncPoint::mlp) = SyncLevel::full;
  transformer.set_observer(&observer);
  calibration.for_fit(
      [&] { transformer.run(block, block + 1, summed, calibration.cache(), stream); });
  transformer.set_observer(nullptr);
  sum_over_ranks(fit.gram(), comms, stream);
  sum_over_ranks(fit.cross(), comms, stream);
  // One rank solves for all: the same to the bit, and virtual ranks share the cores.
  const std::int64_t total = engine.config().mlp;
  std::vector<float> change(total * hidden), shift(hidden);
  agree(comms, "refitting", [&] {
    if (comms.rank != 0) return;
    const RidgeFit::Solution solution = fit.solve(ridge);
    std::copy(solution.coefficients.values.begin(), solution.coefficients.values.end(),
              change.begin());
    for (std::int64_t j = 0; j < hidden; ++j) {
      double offset = solution.y_mean[j];
      for (std::int64_t i = 0; i < total; ++i) {
        offset -= solution.coefficients.at(i, j) * solution.x_mean[i];
      }
      shift[j] = static_cast<float>(offset);
    }
  });
  comms.world->broadcast(change.data(), change.size() * sizeof(float), 0, stream, kSite);
  comms.world->broadcast(shift.data(), shift.size() * sizeof(float), 0, stream, kSite);

  const BlockWeights& weights = transformer.shard().blocks[block];
  Device& device = engine.operators().device();
  HostMatrix down = read_weight(weights.down, device, stream);
  HostMatrix bias = read_vector(weights.down_bias, hidden, device, stream);
  if (bias.empty()) bias = HostMatrix(1, hidden);
  std::int64_t first = 0;
  for (int rank = 0; rank < comms.rank; ++rank) first += neurons[rank];
  for (std::int64_t j = 0; j < hidden; ++j) {
    for (std::int64_t i = 0; i < down.cols; ++i) {
      down.row(j)[i] += change[(first + i) * hidden + j];
    }
    bias.values[j] += shift[j];
  }
  repair.weights["down"] = std::move(down);
  repair.weights["down_bias"] = std::move(bias);
}

}  // namespace spd
