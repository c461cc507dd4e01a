// Blocks under training against torch's autograd in f64, on virtual ranks: families, dropped syncs,
// syncs within nodes, predictions.
#include "model/training/trainee.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/thread_communicator.h"
#include "kernels/device/error.h"
#include "model/checkpoint/checkpoint.h"
#include "tests/model/backend.h"
#include "tests/model/virtual_run.h"

namespace spd {
namespace {

const std::filesystem::path kFixtures = SPD_FIXTURES;
constexpr double kTolerance = 2e-4;  // f32 against f64, of a projection's scale

nlohmann::json fixture() {
  std::ifstream stream(kFixtures / "gradients" / "gradients.json");
  return nlohmann::json::parse(stream);
}

// What scripts/fixtures/gradients.py calls a wave.
double wave(double seed, std::int64_t index) {
  const auto i = static_cast<double>(index);
  return std::sin(seed + 1.3 * i + 0.0007 * i * i);
}

HostMatrix wave_matrix(double seed, std::int64_t rows, std::int64_t cols, double scale) {
  HostMatrix matrix(rows, cols);
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    matrix.values[i] = static_cast<float>(scale * wave(seed, i));
  }
  return matrix;
}

/// The fixture's projections of `values`, each within the tolerance of the values' own length.
void expect_projections(const HostMatrix& values, const nlohmann::json& expected,
                        const std::string& what) {
  double length = 0.0;
  for (const float value : values.values) length += static_cast<double>(value) * value;
  length = std::sqrt(length);
  for (std::size_t p = 0; p < expected.size(); ++p) {
    double sum = 0.0;
    for (std::size_t i = 0; i < values.values.size(); ++i) {
      sum += values.values[i] * wave(0.5 + static_cast<double>(p), static_cast<std::int64_t>(i));
    }
    EXPECT_NEAR(sum, expected[p].get<double>(), kTolerance * (length + 1e-3)) << what;
  }
}

class TraineeCase {
 public:
  explicit TraineeCase(const nlohmann::json& fixture, std::size_t index)
      : fixture_(fixture),
        case_(fixture.at("cases").at(index)),
        config_(ModelConfig::load(kFixtures / "models" / case_.at("model").get<std::string>())),
        ranks_(case_.at("ranks")),
        topology_(Topology::contiguous(ranks_, case_.at("nodes"))),
        levels_(SyncLevels::all_full(config_.blocks)) {
    for (std::int64_t block = 0; block < config_.blocks; ++block) {
      levels_.at(block, SyncPoint::attn) =
          parse_sync_level(case_.at("attn")[block].get<std::string>());
      levels_.at(block, SyncPoint::mlp) =
          parse_sync_level(case_.at("mlp")[block].get<std::string>());
    }
  }

  std::string describe() const {
    return fmt::format("{} on {} ranks, attn {}, mlp {}", case_.at("model").get<std::string>(),
                       ranks_, case_.at("attn").dump(), case_.at("mlp").dump());
  }

  void run(int threads) const {
    const Partition partition = Partition::contiguous(config_, ranks_);
    ThreadGroup group(topology_);
    group.run([&](int rank) {
      const auto world = group.world(rank);
      const auto node = group.node(rank);
      const RankComms comms{rank, topology_, world.get(), node.get()};
      const TestBackend backend = make_test_backend(threads);
      Device& device = *backend.device;
      const auto stream = device.make_stream();
      const auto& operators = backend.operators;
      const auto& gradients = backend.gradients;
      const auto source = make_checkpoint_source(
          Checkpoint::open(kFixtures / "models" / case_.at("model").get<std::string>()));
      const auto lengths = fixture_.at("lengths").get<std::vector<std::int64_t>>();
      const std::int64_t tokens = lengths[0] + lengths[1];
      Transformer transformer(config_, partition,
                              load_shard(config_, partition, rank, *source, *operators), *operators,
                              comms, {.max_tokens = tokens, .max_length = 64});
      const RankRepair repair = predictions(transformer.shard(), rank);
      const TrainedBlockOptions options{
          .max_tokens = tokens, .max_segments = 2, .max_length = lengths[1], .parts = {}};
      Trainee trainee(transformer, repair, levels_, 0, config_.blocks, *gradients, options,
                      *stream);

      const Segment segments[] = {{0, lengths[0], 1, 0}, {lengths[0], lengths[1], 0, 0}};
      const auto upload = [&](const HostMatrix& matrix) {
        Buffer buffer(device, matrix.values.size() * sizeof(float));
        device.upload(buffer.data(), matrix.values.data(), buffer.bytes(), *stream);
        return buffer;
      };
      const Buffer x = upload(wave_matrix(1.0, tokens, config_.hidden, 1.0));
      const Buffer dout = upload(wave_matrix(2.0, tokens, config_.hidden, 0.1));
      // Twice: a second pass must not depend on what the first left behind, and gradients add up.
      for (int pass = 0; pass < 2; ++pass) {
        const ConstActivations out =
            trainee.forward({x.as<const float>(), tokens, config_.hidden}, segments, *stream);
        HostMatrix result(tokens, config_.hidden);
        for (std::int64_t t = 0; t < tokens; ++t) {
          device.download(result.row(t), out.row(t), config_.hidden * sizeof(float), *stream);
        }
        stream->synchronize();
        expect_projections(result, case_.at("out"), "the result of " + describe());
        trainee.backward({dout.as<const float>(), tokens, config_.hidden}, *stream);
      }
      compare(trainee, rank, *stream);
    });
  }

 private:
  RankRepair predictions(const Shard& shard, int rank) const {
    RankRepair repair(config_.blocks);
    if (!case_.at("predicted").get<bool>()) return repair;
    const std::int64_t k = fixture_.at("prediction_rank");
    for (std::int64_t block = 0; block < config_.blocks; ++block) {
      for (const SyncPoint point : kSyncPoints) {
        const bool attn = point == SyncPoint::attn;
        const SyncLevel level = levels_.at(block, point);
        if (level == SyncLevel::full) continue;
        const BlockWeights& weights = shard.blocks[block];
        const double seed = 100.0 + 10.0 * static_cast<double>(block) + 3.0 * rank + (attn ? 0 : 1);
        Prediction prediction;
        prediction.level = level;
        prediction.from_input = wave_matrix(seed, k, config_.hidden, 0.2);
        prediction.from_inner =
            wave_matrix(seed + 0.25, k, attn ? weights.o.cols : weights.neurons, 0.2);
        prediction.to_hidden = wave_matrix(seed + 0.5, config_.hidden, k, 0.2);
        prediction.mean = wave_matrix(seed + 0.75, 1, config_.hidden, 0.2);
        repair[block].prediction[point] = prediction;
      }
    }
    return repair;
  }

  void compare(Trainee& trainee, int rank, Stream& stream) const {
    std::size_t compared = 0;
    const auto compare_one = [&](HostMatrix values, const std::string& name) {
      const auto expected = case_.at("gradients").find(name);
      ASSERT_NE(expected, case_.at("gradients").end()) << name << " of " << describe();
      for (float& value : values.values) value *= 0.5f;
      expect_projections(values, *expected, name + " of " + describe());
      ++compared;
    };
    for (std::int64_t block = 0; block < config_.blocks; ++block) {
      const BlockRepair gradients = trainee.block(block).gradients(stream);
      const std::string prefix = fmt::format("{}.{}.", block, rank);
      for (const auto& [name, values] : gradients.weights) compare_one(values, prefix + name);
      for (const SyncPoint point : kSyncPoints) {
        const auto& prediction = gradients.prediction[point];
        if (!prediction) continue;
        const std::string at = prefix + name(point) + ".";
        compare_one(prediction->from_input, at + "from_input");
        compare_one(prediction->from_inner, at + "from_inner");
        compare_one(prediction->to_hidden, at + "to_hidden");
        compare_one(prediction->mean, at + "mean");
      }
    }
    std::size_t expected = 0;
    for (const auto& [name, values] : case_.at("gradients").items()) {
      if (name.find(fmt::format(".{}.", rank)) == 1) ++expected;
    }
    EXPECT_EQ(compared, expected) << describe();
  }

  const nlohmann::json& fixture_;
  const nlohmann::json& case_;
  ModelConfig config_;
  int ranks_;
  Topology topology_;
  SyncLevels levels_;
};

TEST(Trainee, GradientsAreThoseOfTorch) {
  const nlohmann::json all = fixture();
  for (std::size_t i = 0; i < all.at("cases").size(); ++i) TraineeCase(all, i).run(1 + i % 2);
}

}  // namespace
}  // namespace spd
