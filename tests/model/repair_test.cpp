// Repairs: what a prediction adds to a view, against its formula.
#include "model/repair.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/model/logits.h"
#include "tests/model/random_repair.h"
#include "tests/model/virtual_run.h"

namespace spd {
namespace {

const std::filesystem::path kModels = std::filesystem::path(SPD_FIXTURES) / "models";
constexpr int kRanks = 4;

std::vector<float> normed(const float* x, std::int64_t size, const Norm& norm) {
  double mean = 0.0, square = 0.0;
  if (norm.kind == NormKind::layer) {
    for (std::int64_t i = 0; i < size; ++i) mean += x[i] / static_cast<double>(size);
  }
  for (std::int64_t i = 0; i < size; ++i) square += (x[i] - mean) * (x[i] - mean) / size;
  std::vector<float> y(size);
  for (std::int64_t i = 0; i < size; ++i) {
    y[i] = static_cast<float>((x[i] - mean) / std::sqrt(square + norm.epsilon)) * norm.weight[i];
    if (norm.bias) y[i] += norm.bias[i];
  }
  return y;
}

void add_product(const HostMatrix& matrix, const float* x, std::vector<float>& y) {
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    for (std::int64_t c = 0; c < matrix.cols; ++c) y[r] += matrix.row(r)[c] * x[c];
  }
}

// Expects each view after a sync to be the one before plus the formula in model/repair.h.
class FormulaCheck : public SyncObserver {
 public:
  explicit FormulaCheck(const RankRepair& repair) : repair_(repair) {}

  void before_sync(const SyncPassage& passage, Stream&) override {
    const Prediction& p = *repair_[passage.block].prediction[passage.point];
    expected_.clear();
    for (std::int64_t row = 0; row < passage.view.rows; ++row) {
      std::vector<float> z(p.k());
      if (!p.from_input.empty()) {
        add_product(p.from_input,
                    normed(passage.input.row(row), passage.input.cols, passage.norm).data(), z);
      }
      if (!p.from_inner.empty()) add_product(p.from_inner, passage.inner.row(row), z);
      std::vector<float> view(passage.view.row(row), passage.view.row(row) + passage.view.cols);
      if (passage.level == SyncLevel::drop) {
        if (p.k() > 0) add_product(p.to_hidden, z.data(), view);
        for (std::size_t i = 0; i < view.size(); ++i) view[i] += p.mean.values[i];
      }
      expected_.push_back(std::move(view));
    }
  }
  void after_sync(const SyncPassage& passage, Stream&) override {
    if (passage.level != SyncLevel::drop) return;
    std::vector<std::vector<float>> view;
    for (std::int64_t row = 0; row < passage.view.rows; ++row) {
      view.emplace_back(passage.view.row(row), passage.view.row(row) + passage.view.cols);
    }
    EXPECT_LT(relative_difference(view, expected_), 1e-4) << "block " << passage.block;
    ++checked;
  }
  int checked = 0;

 private:
  const RankRepair& repair_;
  std::vector<std::vector<float>> expected_;
};

struct Case {
  const char* name;
  const char* model;
  SyncLevel attn, mlp;
};
std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

class Predictions : public testing::TestWithParam<Case> {};

// Runs on thread ranks with random repairs installed; gives back rank 0's final stream.
std::vector<float> run_repaired(const Case& c, bool in_parts, bool check, int* checked) {
  const auto model = kModels / c.model;
  const ModelConfig config = ModelConfig::load(model);
  const auto tokens = [&] {
    std::ifstream stream(model / "expected.json");
    return nlohmann::json::parse(stream)["sequences"][0]["input"].get<std::vector<std::int32_t>>();
  }();
  const auto length = static_cast<std::int64_t>(tokens.size());
  SyncLevels levels = SyncLevels::all_full(config.blocks);
  levels.level.attn.assign(config.blocks, c.attn);
  levels.level.mlp.assign(config.blocks, c.mlp);
  levels.level.mlp.back() = SyncLevel::full;
  const Topology topology = Topology::contiguous(kRanks, 2);
  const Partition partition = Partition::contiguous(config, kRanks);
  std::vector<float> result;
  ThreadGroup group(topology);
  group.run([&](int rank) {
    const auto world = group.world(rank);
    const auto node = group.node(rank);
    const RankComms comms{rank, topology, world.get(), node.get()};
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto operators = make_cpu_operators(device, {1, {}});
    const auto source = make_checkpoint_source(Checkpoint::open(model));
    Transformer transformer(config, partition,
                            load_shard(config, partition, rank, *source, *operators), *operators,
                            comms, {length, length});
    const RankRepair repair = random_repair(config, partition, rank, levels, 7);
    for (std::int64_t block = 0; block < config.blocks; ++block) {
      install(repair[block], transformer.shard().blocks[block], *operators, "test");
    }
    FormulaCheck formula(repair);
    if (check) transformer.set_observer(&formula);
    KvCache cache(device, config, partition, rank, {1, length, DType::f32});
    const Segment segment{0, length, 0, 0};
    transformer.begin(tokens, {&segment, 1}, *stream);
    const std::int64_t step = in_parts ? 1 : config.blocks;
    ConstActivations last;
    for (std::int64_t block = 0; block < config.blocks; block += step) {
      if (in_parts) {
        const ResidualState state = transformer.save(*stream);
        transformer.begin(state, {&segment, 1}, *stream);
      }
      last = transformer.run(block, block + step, levels, cache, *stream);
    }
    if (rank != 0) return;
    if (checked) *checked = formula.checked;
    for (std::int64_t row = 0; row < last.rows; ++row) {
      result.insert(result.end(), last.row(row), last.row(row) + last.cols);
    }
  });
  return result;
}

TEST_P(Predictions, AreAddedToTheViewAlone) {
  int checked = 0;
  const auto observed = run_repaired(GetParam(), false, true, &checked);
  if (GetParam().attn == SyncLevel::drop) {
    EXPECT_GT(checked, 0);
  }
  // The same without anybody looking on, and in parts.
  EXPECT_LT(relative_difference({run_repaired(GetParam(), false, false, nullptr)}, {observed}),
            2e-4);
  EXPECT_LT(relative_difference({run_repaired(GetParam(), true, false, nullptr)}, {observed}),
            2e-4);
}

INSTANTIATE_TEST_SUITE_P(
    Levels, Predictions,
    testing::Values(Case{"attn dropped", "llama", SyncLevel::drop, SyncLevel::full},
                    Case{"all dropped", "llama", SyncLevel::drop, SyncLevel::drop},
                    Case{"biases", "opt", SyncLevel::drop, SyncLevel::drop},
                    Case{"drop then node", "qwen3", SyncLevel::drop, SyncLevel::node},
                    Case{"node then drop", "llama-bf16", SyncLevel::node, SyncLevel::full}),
    [](const auto& info) {
      std::string name = info.param.name;
      std::replace(name.begin(), name.end(), ' ', '_');
      return name;
    });

// Replaced weights are for what is missing: a step that misses nothing has the model's own.
TEST(ReplacedWeights, AreForStepsThatLeaveSomethingOut) {
  const auto model = kModels / "llama";
  const ModelConfig config = ModelConfig::load(model);
  const Partition partition = Partition::contiguous(config, 2);
  const std::vector<std::int32_t> tokens = {1, 5, 9, 2, 7};
  const Segment segment{0, 5, 0, 0};
  ThreadGroup group(Topology::contiguous(2, 1));
  group.run([&](int rank) {
    const auto world = group.world(rank);
    const auto node = group.node(rank);
    const RankComms comms{rank, Topology::contiguous(2, 1), world.get(), node.get()};
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto operators = make_cpu_operators(device, {1, {}});
    const auto source = make_checkpoint_source(Checkpoint::open(model));
    Transformer transformer(config, partition,
                            load_shard(config, partition, rank, *source, *operators), *operators,
                            comms, {8, 8});
    KvCache cache(device, config, partition, rank, {1, 8, DType::f32});
    const auto run = [&](SyncLevel attn) {
      SyncLevels levels = SyncLevels::all_full(config.blocks);
      levels.at(0, SyncPoint::attn) = attn;
      const auto out = transformer.forward(tokens, {&segment, 1}, levels, cache, *stream);
      return std::vector<float>(out.data, out.data + out.rows * out.cols);
    };
    const auto full = run(SyncLevel::full), dropped = run(SyncLevel::drop);
    BlockWeights& block = transformer.shard().blocks[0];
    std::mt19937 random(9);
    BlockRepair repair;
    repair.weights["down"] = random_matrix(config.hidden, block.neurons, random);
    repair.weights["up_bias"] = random_matrix(1, block.gate_up.rows, random);
    for (int again = 0; again < 2; ++again) install(repair, block, *operators, "test");
    EXPECT_EQ(run(SyncLevel::full), full);
    EXPECT_NE(run(SyncLevel::drop), dropped);
    remove_repair(block);
    EXPECT_EQ(run(SyncLevel::full), full);
    EXPECT_EQ(run(SyncLevel::drop), dropped);
  });
}

}  // namespace
}  // namespace spd
