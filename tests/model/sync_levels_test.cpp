// What sync levels mean, checked against their algebra and against a plain restatement of SPD.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/model/logits.h"
#include "tests/model/virtual_run.h"

namespace spd {
namespace {

const std::filesystem::path kModels = std::filesystem::path(SPD_FIXTURES) / "models";
constexpr double kTolerance = 2e-4;  // f32 sums in another order, as in transformer_test

std::vector<std::int32_t> input(const std::string& model) {
  std::ifstream stream(kModels / model / "expected.json");
  return nlohmann::json::parse(stream)["sequences"][0]["input"].get<std::vector<std::int32_t>>();
}

// Random levels from the given choice, the last one full.
SyncLevels random_levels(std::int64_t blocks, std::vector<SyncLevel> choice, unsigned seed) {
  std::mt19937 random(seed);
  SyncLevels levels = SyncLevels::all_full(blocks);
  for (std::int64_t block = 0; block < blocks; ++block) {
    levels.at(block, SyncPoint::attn) = choice[random() % choice.size()];
    if (block + 1 < blocks) levels.at(block, SyncPoint::mlp) = choice[random() % choice.size()];
  }
  return levels;
}

SyncLevels replaced(SyncLevels levels, SyncLevel from, SyncLevel to) {
  for (auto* list : {&levels.level.attn, &levels.level.mlp})
    std::replace(list->begin(), list->end(), from, to);
  return levels;
}

Logits run(const std::string& model, int ranks, int nodes, const SyncLevels& levels) {
  VirtualRun spec;
  spec.model = kModels / model;
  spec.ranks = ranks;
  spec.nodes = nodes;
  spec.edit_levels = [&](SyncLevels& edited) { edited = levels; };
  return run_logits(spec, input(model));
}

class SyncAlgebra : public testing::TestWithParam<const char*> {
 protected:
  std::int64_t blocks_ = ModelConfig::load(kModels / GetParam()).blocks;
  const std::vector<SyncLevel> any_ = {SyncLevel::full, SyncLevel::node, SyncLevel::drop};
};

TEST_P(SyncAlgebra, AnyPlanOnOneRankIsTheModel) {
  const Logits model = run(GetParam(), 1, 1, SyncLevels::all_full(blocks_));
  for (unsigned seed = 0; seed < 5; ++seed) {
    const auto levels = random_levels(blocks_, any_, seed);
    EXPECT_LT(relative_difference(run(GetParam(), 1, 1, levels), model), kTolerance) << seed;
  }
}

TEST_P(SyncAlgebra, NodeOnOneNodeIsFull) {
  for (unsigned seed = 0; seed < 5; ++seed) {
    const auto levels = random_levels(blocks_, any_, seed);
    const auto full = replaced(levels, SyncLevel::node, SyncLevel::full);
    EXPECT_LT(relative_difference(run(GetParam(), 3, 1, levels), run(GetParam(), 3, 1, full)),
              kTolerance)
        << seed;
  }
}

TEST_P(SyncAlgebra, NodeWithOneRankANodeIsDrop) {
  for (unsigned seed = 0; seed < 5; ++seed) {
    const auto levels = random_levels(blocks_, any_, seed);
    const auto drop = replaced(levels, SyncLevel::node, SyncLevel::drop);
    EXPECT_LT(relative_difference(run(GetParam(), 3, 3, levels), run(GetParam(), 3, 3, drop)),
              kTolerance)
        << seed;
  }
}

// Dropping must change something, and node must lie between: else the tests above say nothing.
TEST_P(SyncAlgebra, LevelsDiffer) {
  SyncLevels drop = SyncLevels::all_full(blocks_);
  drop.level.attn.assign(blocks_, SyncLevel::drop);
  const SyncLevels node = replaced(drop, SyncLevel::drop, SyncLevel::node);
  const Logits full = run(GetParam(), 4, 2, SyncLevels::all_full(blocks_));
  const Logits dropped = run(GetParam(), 4, 2, drop);
  const Logits in_node = run(GetParam(), 4, 2, node);
  EXPECT_GT(relative_difference(dropped, full), 0.01);
  EXPECT_GT(relative_difference(in_node, full), 0.01);
  EXPECT_GT(relative_difference(in_node, dropped), 0.01);
}

// Rounding on the wire is felt, and no more than rounding: what is chosen is what travels.
TEST_P(SyncAlgebra, WireFormatsRound) {
  const SyncLevels full = SyncLevels::all_full(blocks_);
  const Logits exact = run(GetParam(), 3, 1, full);
  double last = 0.0;
  for (const auto& [wire, most] : {std::pair{WireFormat::bf16, 0.03}, {WireFormat::int8, 0.1}}) {
    for (const SyncLevel level : {SyncLevel::full, SyncLevel::node}) {
      SyncLevels rounded = full;
      rounded.level.attn.assign(blocks_, level);
      rounded.wire.attn.assign(blocks_, wire);
      rounded.wire.mlp.assign(blocks_, wire);
      const double difference = relative_difference(run(GetParam(), 3, 1, rounded), exact);
      EXPECT_GT(difference, std::max(last, 2e-4)) << name(wire) << ' ' << name(level);
      EXPECT_LT(difference, most) << name(wire) << ' ' << name(level);
    }
    last = 1e-3;
  }
  // With one rank nothing travels.
  SyncLevels rounded = full;
  rounded.wire.attn.assign(blocks_, WireFormat::int8);
  EXPECT_LT(relative_difference(run(GetParam(), 1, 1, rounded), exact), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Models, SyncAlgebra,
                         testing::Values("llama", "llama-tied-9-heads", "opt", "qwen3"));

}  // namespace
}  // namespace spd
