// Repairs: what a prediction adds to a view, against its formula; and the file that carries them.
#include "model/repair.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "model/fingerprint.h"
#include "tests/model/logits.h"
#include "tests/model/temp_dir.h"
#include "tests/model/virtual_run.h"

namespace spd {
namespace {

const std::filesystem::path kModels = std::filesystem::path(SPD_FIXTURES) / "models";
constexpr int kRanks = 4;

HostMatrix random_matrix(std::int64_t rows, std::int64_t cols, std::mt19937& random) {
  HostMatrix matrix(rows, cols);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  for (float& value : matrix.values) value = normal(random);
  return matrix;
}

struct Shape {
  std::int64_t k;
  bool input, inner;
};

// A random repair of every sync point, of shapes in turn.
RankRepair random_repair(const ModelConfig& config, const Partition& partition, int rank,
                         const SyncLevels& levels, unsigned seed) {
  const Shape shapes[] = {{16, true, false}, {0, false, false}, {3, true, true}, {8, false, true}};
  std::mt19937 random(seed + rank);
  RankRepair repair(config.blocks);
  std::size_t next = 0;
  for (std::int64_t block = 0; block < config.blocks; ++block) {
    const BlockShard& shard = partition.blocks[block][rank];
    for (const SyncPoint point : kSyncPoints) {
      const auto inner = static_cast<std::int64_t>(
          point == SyncPoint::attn ? shard.q_heads.size() * config.head_dim : shard.neurons.size());
      const Shape& shape = shapes[next++ % 4];
      Prediction prediction;
      prediction.level = levels.at(block, point);
      if (shape.input) prediction.from_input = random_matrix(shape.k, config.hidden, random);
      if (shape.inner) prediction.from_inner = random_matrix(shape.k, inner, random);
      if (shape.k > 0) prediction.to_hidden = random_matrix(config.hidden, shape.k, random);
      prediction.mean = random_matrix(1, config.hidden, random);
      repair[block].prediction[point] = prediction;
    }
  }
  return repair;
}

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

class RepairFiles : public testing::Test {
 protected:
  TempDir dir_;
  ModelConfig config_ = ModelConfig::load(kModels / "llama");
  SyncPlan plan_ = make_plan();
  std::vector<RankRepair> ranks_ = make_repairs();
  std::filesystem::path file_ = dir_.path() / "r.safetensors";

  SyncPlan make_plan() const {
    SyncPlan plan = SyncPlan::all_full(config_, Topology::contiguous(kRanks, 2));
    plan.levels.level.attn.assign(config_.blocks, SyncLevel::drop);
    plan.levels.level.mlp.assign(config_.blocks, SyncLevel::node);
    plan.levels.level.mlp.back() = SyncLevel::full;
    return plan;
  }
  std::vector<RankRepair> make_repairs() const {
    std::vector<RankRepair> ranks;
    std::mt19937 random(3);
    for (int rank = 0; rank < kRanks; ++rank) {
      ranks.push_back(random_repair(config_, plan_.partition, rank, plan_.levels, 5));
      const auto neurons =
          static_cast<std::int64_t>(plan_.partition.blocks[1][rank].neurons.size());
      ranks.back()[1].weights["down"] = random_matrix(config_.hidden, neurons, random);
    }
    return ranks;
  }
  std::string refusal(const SyncPlan& plan) const {
    try {
      RepairFile(file_, plan).load(0);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(RepairFiles, RoundTrip) {
  const auto hash = RepairFile::write(file_, plan_, ranks_, DType::f32);
  EXPECT_EQ(hash, file_hash(file_));
  const RepairFile file(file_, plan_);
  for (int rank = 0; rank < kRanks; ++rank) {
    const RankRepair read = file.load(rank);
    ASSERT_EQ(read.size(), ranks_[rank].size());
    for (std::size_t block = 0; block < read.size(); ++block) {
      for (const SyncPoint point : kSyncPoints) {
        const auto &ours = read[block].prediction[point],
                   &theirs = ranks_[rank][block].prediction[point];
        ASSERT_TRUE(ours.has_value());
        EXPECT_EQ(ours->level, theirs->level);
        EXPECT_EQ(ours->k(), theirs->k());
        EXPECT_EQ(ours->from_input.values, theirs->from_input.values);
        EXPECT_EQ(ours->from_inner.values, theirs->from_inner.values);
        EXPECT_EQ(ours->to_hidden.values, theirs->to_hidden.values);
        EXPECT_EQ(ours->mean.values, theirs->mean.values);
      }
      EXPECT_EQ(read[block].weights.size(), ranks_[rank][block].weights.size());
    }
    EXPECT_EQ(read[1].weights.at("down").values, ranks_[rank][1].weights.at("down").values);
  }
}

TEST_F(RepairFiles, AnotherPlanIsRefused) {
  RepairFile::write(file_, plan_, ranks_, DType::bf16);
  EXPECT_EQ(refusal(plan_), "");
  const std::pair<const char*, std::function<void(SyncPlan&)>> changes[] = {
      {"another model", [](SyncPlan& plan) { plan.fingerprint = "0123456789abcdef"; }},
      {"another ranks_per_node",
       [](SyncPlan& plan) {
         plan.ranks_per_node = {1, 3};
       }},
      {"another tp",
       [&](SyncPlan& plan) { plan.partition = Partition::contiguous(config_, kRanks - 1); }},
      {"another partition",
       [](SyncPlan& plan) {
         std::swap(plan.partition.blocks[0][0].neurons[0], plan.partition.blocks[0][1].neurons[0]);
       }},
      {"block 1 attn was repaired for level drop, the plan says node",
       [](SyncPlan& plan) { plan.levels.at(1, SyncPoint::attn) = SyncLevel::node; }},
  };
  for (const auto& [expected, change] : changes) {
    SyncPlan plan = plan_;
    change(plan);
    EXPECT_NE(refusal(plan).find(expected), std::string::npos) << expected << ": " << refusal(plan);
  }
  SyncPlan elsewhere = plan_;  // nothing that stays within nodes: they may be others
  elsewhere.levels.level.mlp.assign(config_.blocks, SyncLevel::full);
  elsewhere.ranks_per_node = {1, 3};
  EXPECT_NE(refusal(elsewhere), "") << "the repairs are of syncs within nodes";
  std::vector<RankRepair> dropped;
  for (int rank = 0; rank < kRanks; ++rank) {
    dropped.push_back(random_repair(config_, plan_.partition, rank, elsewhere.levels, 5));
  }
  RepairFile::write(file_, elsewhere, dropped, DType::bf16);
  elsewhere.ranks_per_node = {2, 2};
  EXPECT_EQ(refusal(elsewhere), "");
  RepairFile::write(file_, plan_, ranks_, DType::bf16);

  SyncPlan fewer = plan_;  // a sync that is full after all needs no repair
  fewer.levels.at(1, SyncPoint::attn) = SyncLevel::full;
  EXPECT_EQ(refusal(fewer), "");
}

TEST_F(RepairFiles, DamagedOnesAreRepairedNotDownloaded) {
  RepairFile::write(file_, plan_, ranks_, DType::bf16);
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) / 2);
  EXPECT_THAT(refusal(plan_), testing::HasSubstr("truncated\n  remedy: repair again"));
  std::ofstream(file_) << "not a safetensors file, but long enough";
  EXPECT_THAT(refusal(plan_), testing::HasSubstr("remedy: repair again"));
}

TEST_F(RepairFiles, PlanRefersToItByPathAndContent) {
  plan_.repair = RepairReference{file_, RepairFile::write(file_, plan_, ranks_, DType::f32)};
  const auto plan_file = dir_.path() / "plan.json";
  std::ofstream(plan_file) << plan_.to_json(config_, dir_.path());
  const SyncPlan read = SyncPlan::load(plan_file, config_, Topology::contiguous(kRanks, 2));
  ASSERT_TRUE(read.repair.has_value());
  EXPECT_TRUE(std::filesystem::equivalent(read.repair->file, file_));
  EXPECT_EQ(read.repair->hash, plan_.repair->hash);

  CpuDevice device;
  const auto operators = make_cpu_operators(device, {1, {}});
  const auto source = make_checkpoint_source(Checkpoint::open(kModels / "llama"));
  Shard shard = load_shard(config_, plan_.partition, 0, *source, *operators);
  install_repair(read, 0, shard, *operators);
  EXPECT_TRUE(shard.blocks[0].prediction.attn.has_value());

  ranks_[0][0].prediction.attn->mean.values[0] += 1.0f;  // another file under the same name
  RepairFile::write(file_, plan_, ranks_, DType::f32);
  EXPECT_THROW(install_repair(read, 0, shard, *operators), Error);
  ranks_[0][0].prediction.attn->mean.values[0] = NAN;
  plan_.repair->hash = RepairFile::write(file_, plan_, ranks_, DType::f32);
  EXPECT_THROW(install_repair(plan_, 0, shard, *operators), Error);
}

TEST_F(RepairFiles, DamageIsRefusedByFile) {
  const auto load = [&](const std::string& levels) {
    RepairFile::write(file_, plan_, ranks_, DType::f32);
    const std::string whole = plan_.levels.to_json().dump();
    std::ifstream stream(file_, std::ios::binary);
    std::string content((std::istreambuf_iterator<char>(stream)), {});
    std::string quoted = nlohmann::json(whole).dump();
    std::string other = nlohmann::json(levels).dump();
    ASSERT_LE(other.size(), quoted.size());
    other.insert(other.size() - 1, std::string(quoted.size() - other.size(), ' '));
    const std::size_t at = content.find(quoted);
    ASSERT_NE(at, std::string::npos);
    content.replace(at, quoted.size(), other);
    std::ofstream(file_, std::ios::binary) << content;
    expect_input_error([&] { RepairFile(file_, plan_); }, {file_.string(), "levels"});
  };
  load(R"({"attn": ["drop"], "mlp": []})");
  load(R"({"attn": [], "mlp": []})");
  load(R"({"attn": ["drop", 5], "mlp": []})");
  load("[]");
  load("nonsense");
}

TEST_F(RepairFiles, OnlyRegularFilesAreRead) {
  CpuDevice device;
  const auto operators = make_cpu_operators(device, {1, {}});
  Shard shard;
  const auto fifo = dir_.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const std::filesystem::path& file :
       {std::filesystem::path("/dev/zero"), fifo, std::filesystem::path(dir_.path()),
        std::filesystem::path("/no/such")}) {
    plan_.repair = RepairReference{file, "00"};
    expect_input_error([&] { install_repair(plan_, 0, shard, *operators); }, {file.string()});
  }
  RepairFile::write(file_, plan_, ranks_, DType::f32);
  plan_.repair = RepairReference{file_, "00"};
  try {
    install_repair(plan_, 0, shard, *operators);
    FAIL();
  } catch (const Error& error) {  // what other files come to is not told
    EXPECT_EQ(std::string(error.what()).find(file_hash(file_)), std::string::npos);
  }
}

}  // namespace
}  // namespace spd
