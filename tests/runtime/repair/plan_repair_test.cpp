// Repairs of whole plans on a small model: what they reach, and that interruptions lose nothing.
#include "runtime/repair/plan_repair.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "kernels/device/error.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/repair/residual_math.h"
#include "tests/model/temp_dir.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

constexpr const char* kModel = "llama-tied-9-heads";
constexpr CalibrationOptions kCalibration{.window = 32, .windows = 12, .held_out = 4};

// Repetitive enough to be learnt from little of it.
std::vector<std::int32_t> text(std::int64_t count) {
  const auto vocab = static_cast<std::int32_t>(ModelConfig::load(fixture_model(kModel)).vocab);
  std::mt19937 random(5);
  std::vector<std::int32_t> ids(count);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % (vocab / 4));
  return ids;
}

EngineOptions options(const std::vector<std::string>& drop, const std::vector<std::string>& node) {
  EngineOptions engine = exact_options(fixture_model(kModel));
  engine.drop = drop;
  engine.node = node;
  return engine;
}

struct Result {
  std::vector<BlockOutcome> outcomes;
  std::vector<RankRepair> ranks;
  Partition partition;
  std::vector<float> stream;  // what a text that was not calibrated on becomes, repaired
};

struct Stop {};

// `stop_at`: the block before which an interruption comes; < 0: none.
Result repair(const LaunchOptions& launch, const EngineOptions& engine_options,
              const RepairRunOptions& run_options, int stop_at = -1) {
  Result result;
  on_ranks(launch, engine_options, kCalibration.window, [&](Engine& engine) {
    const RepairRun run = repair_plan(engine, text(1024), kCalibration, run_options,
                                      [&](std::int64_t done, std::int64_t) {
                                        if (done == stop_at) throw Stop();
                                      });
    KvCache cache = engine.make_cache(1, kCalibration.window);
    const auto tokens = text(kCalibration.window);
    const Segment segment{0, kCalibration.window, 0, 0};
    const auto out = engine.transformer().forward(tokens, {&segment, 1}, engine.plan().levels,
                                                  cache, engine.stream());
    if (!engine.context().root()) return;
    result = {run.blocks, run.ranks, engine.plan().partition,
              to_host(engine.operators().device(), out, engine.stream())};
  });
  return result;
}

RepairRunOptions every_method() {
  RepairRunOptions options;
  options.block.ks = {2, 8};
  options.block.thresholds = {0.0, 0.0};  // every block is extremely sensitive
  options.block.heads.kv_copies = 1;
  return options;
}

RepairRunOptions no_method() {
  RepairRunOptions options;
  options.block.grouping = options.block.placement = options.block.prediction =
      options.block.refit = false;
  return options;
}

struct Comparison {
  double bare, error;  // of the stream against the model's, without and with repairs
  Result repaired;
};

// Every repair of 3 ranks that leave out these syncs.
Comparison compare(const std::vector<std::string>& drop) {
  const LaunchOptions launch{3, 1};
  const std::int64_t hidden = ModelConfig::load(fixture_model(kModel)).hidden;
  const auto truth = repair(launch, options({}, {}), no_method()).stream;
  const auto bare = repair(launch, options(drop, {}), no_method()).stream;
  Result repaired = repair(launch, options(drop, {}), every_method());
  return {relative_error(bare, truth, hidden), relative_error(repaired.stream, truth, hidden),
          std::move(repaired)};
}

TEST(RepairPlan, BringsTheStreamBackTowardsTheModel) {
  const auto [bare, error, repaired] = compare({"attn:all"});
  EXPECT_LT(error, 0.7 * bare);
  for (const BlockOutcome& outcome : repaired.outcomes) {
    for (const PointOutcome& point : outcome.points) {
      EXPECT_LT(point.after(), point.before()) << outcome.block << " " << point.methods();
    }
  }
}

TEST(RepairPlan, EveryLevelAndPoint) {
  const Result result = repair({4, 2}, options({"attn:0"}, {"attn:1", "mlp:0"}), every_method());
  ASSERT_EQ(result.outcomes.size(), 2u);
  EXPECT_EQ(result.outcomes[0].points.size(), 2u);
  for (const BlockOutcome& outcome : result.outcomes) {
    for (const PointOutcome& point : outcome.points) EXPECT_LE(point.after(), point.before());
  }
  // Where nothing is missing there is nothing to repair.
  EXPECT_TRUE(repair({4, 1}, options({}, {"attn:1"}), every_method()).outcomes[0].points.empty());
  EXPECT_TRUE(repair({1, 1}, options({"attn:1"}, {}), every_method()).outcomes[0].points.empty());
}

// What mlp syncs leave out is predicted where the next attention looks.
TEST(RepairPlan, MlpPointsAlone) {
  const auto [bare, error, repaired] = compare({"mlp:0"});
  EXPECT_LT(error, 0.9 * bare);
  ASSERT_EQ(repaired.outcomes.size(), 1u);
  ASSERT_EQ(repaired.outcomes[0].points.size(), 1u);
  const PointOutcome& point = repaired.outcomes[0].points[0];
  EXPECT_EQ(point.point, SyncPoint::mlp);
  EXPECT_LT(point.after(), point.before()) << point.methods();
  for (const RankRepair& rank : repaired.ranks) {
    EXPECT_TRUE(rank[0].prediction.mlp);
    EXPECT_FALSE(rank[0].prediction.attn);
    EXPECT_TRUE(rank[0].weights.empty());
  }
}

// The paper's classes decide which methods a block gets.
TEST(RepairPlan, ClassesDecideWhichRepairs) {
  struct Case {
    ClassThresholds thresholds;
    BlockClass expected;
    bool repaired, grouped;
  };
  for (const Case& one : {Case{{10.0, 20.0}, BlockClass::insensitive, false, false},
                          Case{{0.0, 20.0}, BlockClass::sensitive, true, false},
                          Case{{0.0, 0.0}, BlockClass::extreme, true, true}}) {
    RepairRunOptions run = every_method();
    run.block.thresholds = one.thresholds;
    const Result result = repair({3, 1}, options({"attn:0"}, {}), run);
    const PointOutcome& point = result.outcomes.at(0).points.at(0);
    EXPECT_EQ(point.block_class, one.expected);
    EXPECT_EQ(point.steps.size() > 1, one.repaired);
    EXPECT_EQ(result.ranks.at(0)[0].empty(), !one.repaired);
    const auto& heads = result.partition.blocks.at(0).at(0).q_heads;
    EXPECT_EQ(heads != std::vector<std::int32_t>({0, 1, 2}), one.grouped);
  }
  // By default, dropping what hardly matters is left as it is, and heads move in the worst blocks.
  const ClassThresholds standard = BlockRepairOptions().thresholds;
  EXPECT_EQ(standard.classify(0.0001), BlockClass::insensitive);
  EXPECT_EQ(standard.classify(0.01), BlockClass::sensitive);
  EXPECT_EQ(standard.classify(0.2), BlockClass::extreme);
}

// Groups and places: with every sync paid for, the model is what it was.
TEST(RepairPlan, PartitionsAloneLeaveTheModelUnchanged) {
  const LaunchOptions launch{3, 1};
  RepairRunOptions moves = every_method();
  moves.block.prediction = moves.block.refit = false;
  const Partition partition = repair(launch, options({"attn:all"}, {}), moves).partition;
  EXPECT_FALSE(partition == Partition::contiguous(ModelConfig::load(fixture_model(kModel)), 3));
  const TempDir folder;
  const auto plan_file = folder.path() / "plan.json";
  const ModelConfig config = ModelConfig::load(fixture_model(kModel));
  SyncPlan plan = SyncPlan::all_full(config, Topology::contiguous(3, 1));
  plan.partition = partition;
  std::ofstream(plan_file) << plan.to_json(config);
  EngineOptions moved = options({}, {});
  moved.plan = plan_file;
  const auto truth = repair(launch, options({}, {}), no_method()).stream;
  EXPECT_LT(relative_error(repair(launch, moved, no_method()).stream, truth, config.hidden), 1e-9);
}

TEST(RepairPlan, GoesOnWhereItWasInterrupted) {
  const LaunchOptions launch{3, 1};
  const auto engine = options({"attn:all"}, {});
  const TempDir folder;
  RepairRunOptions run = every_method();
  const Result whole = repair(launch, engine, run);
  run.partial = folder.path() / "work";
  EXPECT_THROW(repair(launch, engine, run, 1), Stop);
  RepairRunOptions other = run;
  other.block.ridge = 0.5;
  EXPECT_THROW(repair(launch, engine, other), Error);  // that work is not this run's
  const Result resumed = repair(launch, engine, run);
  EXPECT_TRUE(resumed.outcomes[0].resumed);
  EXPECT_FALSE(resumed.outcomes[1].resumed);
  EXPECT_EQ(resumed.stream, whole.stream);
  EXPECT_TRUE(resumed.partition == whole.partition);
  for (std::size_t block = 0; block < whole.outcomes.size(); ++block) {
    EXPECT_EQ(resumed.outcomes[block].points[0].methods(),
              whole.outcomes[block].points[0].methods());
  }
  // Until what came of it is in its place.
  EXPECT_TRUE(std::filesystem::exists(run.partial));
  on_ranks({1, 1}, options({"attn:all"}, {}), kCalibration.window,
           [&](Engine& engine) { remove_partial(engine.context(), run); });
  EXPECT_FALSE(std::filesystem::exists(run.partial));
}

TEST(RepairPlan, RefusesTooLittleText) {
  on_ranks({2, 1}, options({"attn:all"}, {}), kCalibration.window, [&](Engine& engine) {
    EXPECT_THROW(repair_plan(engine, text(100), kCalibration, every_method()), Error);
  });
}

}  // namespace
}  // namespace spd
