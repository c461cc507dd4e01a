// Distillation of small random models on virtual ranks: it learns, the same every time, and what it
// leaves behind in the engine is what it reports.
#include "runtime/distillation/distillation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <random>

#include "kernels/cpu/gemm.h"
#include "kernels/device/error.h"
#include "tests/runtime/all_ranks.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

std::vector<std::int32_t> some_text(std::int64_t count) {
  std::mt19937 engine(7);
  std::vector<std::int32_t> tokens(count);
  for (auto& token : tokens) token = static_cast<std::int32_t>(engine() % 131);
  return tokens;
}

DistillOptions small_options() {
  DistillOptions options;
  options.set = {.window = 24, .windows = 40, .held_out = 3};
  options.training.epochs = 4;
  options.training.rate = 2e-3f;
  return options;
}

struct Outcome {
  std::vector<DistilledBlocks> blocks;
  std::vector<RankRepair> repairs;  // [ranks]
};

/// Distils fixture model `name`, `which` blocks or, for none, the logits.
Outcome distilled(const std::string& name, int ranks, const std::vector<std::string>& drop,
                  const DistillOptions& options, const std::set<std::int64_t>& which,
                  int threads = 1, bool exact = true) {
  EngineOptions engine_options = exact_options(fixture_model(name));
  engine_options.exact = exact;
  engine_options.drop = drop;
  engine_options.threads = threads;
  Outcome outcome;
  std::mutex mutex;
  on_ranks({.virtual_ranks = ranks}, engine_options, options.set.window, [&](Engine& engine) {
    RankRepair repair(engine.config().blocks);
    const auto text = some_text(1100);
    std::vector<DistilledBlocks> blocks;
    if (which.empty()) {
      blocks.push_back(distill_logits(engine, text, options, repair, {}));
    } else {
      blocks = distill_blocks(engine, text, options, which, repair, {});
    }
    auto all = all_ranks(engine, repair);
    const std::scoped_lock lock(mutex);
    if (!engine.context().root()) return;
    outcome.blocks = blocks;
    outcome.repairs = std::move(all);
  });
  return outcome;
}

TEST(Distillation, BlocksLearn) {
  for (const char* model : {"llama", "opt", "qwen3"}) {
    const Outcome outcome = distilled(model, 2, {"attn:all"}, small_options(), {0, 1});
    ASSERT_EQ(outcome.blocks.size(), 2) << model;
    for (const DistilledBlocks& blocks : outcome.blocks) {
      // Of the error itself: the loss is its damped form, log(1 + error).
      EXPECT_LT(std::expm1(blocks.training.after), 0.9 * std::expm1(blocks.training.before))
          << model;
      EXPECT_GT(blocks.training.best_epoch, 0) << model;
      // These models are stored in f32: nothing is lost by rounding.
      EXPECT_NEAR(blocks.rounded, blocks.training.after, 1e-4 * blocks.training.after) << model;
    }
    for (const RankRepair& repair : outcome.repairs) {
      EXPECT_THAT(repair[0].weights, testing::Contains(testing::Key("down"))) << model;
      for (std::size_t block = 2; block < repair.size(); ++block) {
        EXPECT_TRUE(repair[block].empty()) << model;
      }
    }
  }
}

TEST(Distillation, LearnsTheSameEveryTime) {
  const Outcome once = distilled("llama", 3, {"attn:all"}, small_options(), {1});
  for (const int threads : {1, 2}) {
    const Outcome again = distilled("llama", 3, {"attn:all"}, small_options(), {1}, threads);
    ASSERT_EQ(again.repairs.size(), 3);
    for (int rank = 0; rank < 3; ++rank) {
      const auto& expected = once.repairs[rank][1].weights;
      const auto& got = again.repairs[rank][1].weights;
      ASSERT_EQ(got.size(), expected.size());
      for (const auto& [name, values] : expected) {
        EXPECT_EQ(got.at(name).values, values.values) << name << ", " << threads << " threads";
      }
    }
  }
}

TEST(Distillation, OnlyChosenPartsMove) {
  DistillOptions options = small_options();
  options.parts = {.attention = false, .mlp = true, .norms = false, .prediction = false};
  const Outcome outcome = distilled("llama", 2, {"attn:all"}, options, {0});
  std::vector<std::string> names;
  for (const auto& [name, values] : outcome.repairs[1][0].weights) names.push_back(name);
  EXPECT_THAT(names, testing::ElementsAre("down", "up"));
  EXPECT_LT(outcome.blocks[0].training.after, outcome.blocks[0].training.before);
}

// A refitted bias, say: ranks share it, so that it is not trained, but it is in effect.
TEST(Distillation, WhatTheRepairReplacedAndIsNotTrainedStays) {
  DistillOptions options = small_options();
  options.parts = {.attention = false, .mlp = true, .norms = false, .prediction = false};
  EngineOptions engine_options = exact_options(fixture_model("llama"));
  engine_options.drop = {"attn:all"};
  on_ranks({.virtual_ranks = 2}, engine_options, options.set.window, [&](Engine& engine) {
    const std::int64_t hidden = engine.config().hidden;
    RankRepair repair(engine.config().blocks);
    HostMatrix& bias = repair[0].weights["down_bias"] = HostMatrix(1, hidden);
    std::fill(bias.values.begin(), bias.values.end(), 0.25f);
    BlockWeights& weights = engine.transformer().shard().blocks[0];
    HostMatrix& o = repair[0].weights["o"] = HostMatrix(weights.o.rows, weights.o.cols);
    std::fill(o.values.begin(), o.values.end(), 0.01f);
    install(repair[0], weights, engine.operators(), "here");
    const auto blocks = distill_blocks(engine, some_text(1100), options, {0}, repair, {});
    ASSERT_TRUE(repair[0].weights.contains("down_bias"));
    EXPECT_EQ(repair[0].weights["down_bias"].values, std::vector<float>(hidden, 0.25f));
    EXPECT_EQ(repair[0].weights["o"].values,
              std::vector<float>(weights.o.rows * weights.o.cols, 0.01f));
    EXPECT_NEAR(blocks[0].rounded, blocks[0].training.after, 1e-4 * blocks[0].training.after);
  });
}

TEST(Distillation, BlocksBetweenFullSyncsLearnTogether) {
  const Outcome outcome = distilled("llama", 2, {"attn:0-1", "mlp:0"}, small_options(), {0, 1, 2});
  ASSERT_EQ(outcome.blocks.size(), 1);  // block 2 leaves out no sync
  EXPECT_EQ(outcome.blocks[0].first, 0);
  EXPECT_EQ(outcome.blocks[0].last, 2);
  EXPECT_LT(outcome.blocks[0].training.after, 0.9 * outcome.blocks[0].training.before);
}

TEST(Distillation, TheTeachersInputServesBlocksWithoutEachOther) {
  DistillOptions options = small_options();
  options.input = StudentInput::teacher;
  const Outcome both = distilled("llama", 2, {"attn:all"}, options, {0, 2});
  const Outcome alone = distilled("llama", 2, {"attn:all"}, options, {2});
  ASSERT_EQ(both.blocks.size(), 2);
  EXPECT_EQ(both.blocks[1].training.after, alone.blocks[0].training.after);
  EXPECT_EQ(both.repairs[0][2].weights.at("up").values,
            alone.repairs[0][2].weights.at("up").values);
}

TEST(Distillation, LogitsOfAllBlocksLearn) {
  DistillOptions options = small_options();
  options.training.rate = 5e-4f;
  const Outcome outcome = distilled("llama", 2, {"attn:all"}, options, {});
  const TrainingResult& training = outcome.blocks[0].training;
  EXPECT_GT(training.before, 0.0);
  EXPECT_LT(training.after, 0.9 * training.before);
  EXPECT_NEAR(outcome.blocks[0].rounded, training.after, 1e-4 * training.after);
  // One rank alone misses nothing.
  const Outcome one = distilled("llama", 1, {"attn:all"}, options, {});
  EXPECT_NEAR(one.blocks[0].training.before, 0.0, 1e-6);
}

// Rounded factors make other gradients, by about 1 % of their length, but not a worse outcome: what
// is learnt is the same to within a tenth of it.
TEST(Distillation, Bf16ProductsLearnAsMuch) {
  if (!multiplies_bf16()) GTEST_SKIP() << "this processor has no AVX-512-BF16";
  DistillOptions options = small_options();
  options.training.rate = 5e-4f;
  for (const char* model : {"llama", "opt"}) {
    const auto trained = [&](MatmulMode products, int threads = 1) {
      options.products = products;
      return distilled(model, 2, {"attn:all"}, options, {}, threads, false);
    };
    const Outcome exact = trained(MatmulMode::f32), rounded = trained(MatmulMode::bf16_tiles);
    const TrainingResult& wanted = exact.blocks[0].training;
    const TrainingResult& got = rounded.blocks[0].training;
    EXPECT_NEAR(got.before, wanted.before, 0.02 * wanted.before) << model;
    EXPECT_NEAR(got.before - got.after, wanted.before - wanted.after,
                0.1 * (wanted.before - wanted.after))
        << model;
    EXPECT_NE(got.after, wanted.after) << model << ": nothing was rounded";
    // Adam's copies, not the rounding at the start, are what was multiplied with.
    EXPECT_NEAR(rounded.blocks[0].rounded, got.after, 0.05 * got.after) << model;
    if (std::string(model) != "llama") continue;
    EXPECT_EQ(trained(MatmulMode::bf16_tiles, 2).blocks[0].training.after, got.after);
  }
}

TEST(Distillation, LogitsGoOnWhereTheyWereInterrupted) {
  struct Stop {};
  DistillOptions options = small_options();
  options.training.rate = 5e-4f;
  EngineOptions engine_options = exact_options(fixture_model("llama"));
  engine_options.drop = {"attn:all"};
  engine_options.threads = 1;
  const double start =
      distilled("llama", 2, engine_options.drop, options, {}).blocks[0].training.before;
  std::vector<RankRepair> kept(2);
  std::int64_t done = 0;
  const auto run = [&](const std::function<void(Engine&)>& body) {
    on_ranks({.virtual_ranks = 2}, engine_options, options.set.window, body);
  };
  EXPECT_THROW(
      run([&](Engine& engine) {
        std::int64_t at = 0;
        const DistillProgress progress{
            .step = [&](std::int64_t windows, std::int64_t, const std::string&) { at = windows; },
            .due = [&] { return at == 90; },
            .keep =
                [&](std::int64_t windows, const RankRepair& repair) {
                  kept[engine.context().rank()] = repair;
                  if (engine.context().root()) done = windows;
                  throw Stop();
                }};
        RankRepair repair(engine.config().blocks);
        distill_logits(engine, some_text(1100), options, repair, progress);
      }),
      Stop);
  EXPECT_EQ(done, 90);  // of 4 epochs of 40 windows
  options.training.done = done;
  run([&](Engine& engine) {
    RankRepair repair = kept[engine.context().rank()];
    for (std::size_t block = 0; block < repair.size(); ++block) {
      install(repair[block], engine.transformer().shard().blocks[block], engine.operators(),
              "kept");
    }
    std::vector<std::int64_t> trained;
    const DistillProgress progress{
        .step = [&](std::int64_t windows, std::int64_t, const std::string&) {
          if (windows > 90) trained.push_back(windows);  // before, the teacher is at it
        }};
    const TrainingResult result =
        distill_logits(engine, some_text(1100), options, repair, progress).training;
    EXPECT_LT(result.before, 0.95 * start);  // what was learnt before is there
    EXPECT_LT(result.after, result.before);
    ASSERT_EQ(trained.size(), 70u);
    EXPECT_EQ(trained.front(), 91);
    EXPECT_EQ(trained.back(), 160);
  });
}

// The teacher's pass over all windows takes minutes on a real model.
TEST(Distillation, AnInterruptionIsHeardWhileTheTeacherRuns) {
  struct Stop {};
  const DistillOptions options = small_options();
  EngineOptions engine_options = exact_options(fixture_model("llama"));
  engine_options.drop = {"attn:all"};
  engine_options.threads = 1;
  std::vector<std::int64_t> kept(2, -1);
  const auto begin_and_stop = [&](Engine& engine) {
    const DistillProgress progress{.due = [] { return true; },
                                   .keep =
                                       [&](std::int64_t windows, const RankRepair&) {
                                         kept[engine.context().rank()] = windows;
                                         throw Stop();
                                       }};
    RankRepair repair(engine.config().blocks);
    distill_logits(engine, some_text(1100), options, repair, progress);
  };
  EXPECT_THROW(on_ranks({.virtual_ranks = 2}, engine_options, options.set.window, begin_and_stop),
               Stop);
  EXPECT_THAT(kept, testing::ElementsAre(0, 0));
}

TEST(Distillation, ATooShortTextIsRefused) {
  DistillOptions options = small_options();
  options.set.windows = 400;
  EXPECT_THROW(distilled("llama", 2, {"attn:all"}, options, {0}), Error);
}

TEST(Distillation, ARateThatDivergesIsReported) {
  DistillOptions options = small_options();
  options.training.rate = 1e30f;
  EXPECT_THROW(distilled("llama", 2, {"attn:all"}, options, {0}), Error);
}

TEST(Training, RatesRiseThenFall) {
  TrainingOptions options;
  options.rate = 1.0f;
  options.warm_up = 0.1;
  EXPECT_FLOAT_EQ(rate_at(options, 5, 100), 0.5f);
  EXPECT_FLOAT_EQ(rate_at(options, 10, 100), 1.0f);
  EXPECT_FLOAT_EQ(rate_at(options, 55, 100), 0.5f);
  EXPECT_NEAR(rate_at(options, 100, 100), 0.0f, 1e-6f);
  options.schedule = RateSchedule::constant;
  EXPECT_FLOAT_EQ(rate_at(options, 100, 100), 1.0f);
  EXPECT_FLOAT_EQ(rate_at(options, 1, 1), 1.0f);
}

TEST(Training, OrdersAreShuffledAndRepeatable) {
  const auto order = shuffled(10, 1, 1);
  EXPECT_EQ(order, shuffled(10, 1, 1));
  EXPECT_NE(order, shuffled(10, 1, 2));
  EXPECT_NE(order, shuffled(10, 2, 1));
  std::vector<std::int64_t> all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_THAT(order, testing::UnorderedElementsAreArray(all));
}

}  // namespace
}  // namespace spd
