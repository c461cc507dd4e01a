#include "runtime/bench/prediction_cost.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runtime/job/console.h"

namespace spd {

namespace {

// The kinds of work that predictions are made in.
std::vector<Work> predicting(const PredictionUse& use) {
  std::vector<Work> kinds;
  if (use.attn) kinds.insert(kinds.end(), {Work::qkv, Work::o_proj});
  if (use.mlp) kinds.push_back(Work::mlp);
  if (use.attn || use.mlp) kinds.push_back(Work::residual);
  return kinds;
}

}  // namespace

PredictionUse prediction_use(const Shard& shard, const SyncLevels& levels) {
  PredictionUse use;
  double predicted = 0.0;
  double weights = 0.0;
  for (std::size_t i = 0; i < shard.blocks.size(); ++i) {
    const BlockWeights& block = shard.blocks[i];
    for (const SyncPoint point : kSyncPoints) {
      const auto& prediction = block.prediction[point];
      const SyncLevel level = levels.at(static_cast<std::int64_t>(i), point);
      if (!prediction || prediction->level != level) continue;
      (point == SyncPoint::attn ? use.attn : use.mlp) = true;
      predicted += static_cast<double>(prediction->elements());
    }
    weights += static_cast<double>(block.elements());
  }
  if (weights > 0.0) use.share = predicted / weights;
  return use;
}

std::vector<PredictionCost> prediction_costs(const std::vector<TestResult>& results,
                                             const PredictionUse& use) {
  const std::vector<Work> kinds = predicting(use);
  std::vector<PredictionCost> costs;
  for (const TestResult& with : results) {
    if (with.variant != "plan") continue;
    for (const TestResult& without : results) {
      if (without.variant != kUnpredicted || without.test != with.test) continue;
      std::vector<double> differences, in_blocks;
      for (std::size_t i = 0; i < with.work_s.size(); ++i) {
        const WorkSeconds& bare = without.work_s.at(i);
        differences.push_back((sum_of(with.work_s[i], kinds) - sum_of(bare, kinds)) * 1e3);
        in_blocks.push_back(sum_of(bare, kInBlocks));
      }
      costs.push_back({.test = with.test,
                       .without_ms = quantile(in_blocks, 0.5) * 1e3,
                       .cost_ms = quantile(differences, 0.5),
                       .low_ms = quantile(differences, 0.25),
                       .high_ms = quantile(differences, 0.75),
                       .share = use.share});
    }
  }
  return costs;
}

void print(const std::vector<PredictionCost>& costs) {
  for (const PredictionCost& cost : costs) {
    say("{:<14} predictions cost {:.2f} ms (quartiles {:.2f} to {:.2f}) a repetition on top of "
        "{:.2f} ms in blocks: {:.2f}x their {:.1f} % of the arithmetic\n",
        cost.test, cost.cost_ms, cost.low_ms, cost.high_ms, cost.without_ms, cost.times_share(),
        100.0 * cost.share);
  }
}

nlohmann::json to_json(const PredictionCost& cost) {
  return {{"test", cost.test},
          {"blocks_without_ms", cost.without_ms},
          {"cost_ms", {{"p25", cost.low_ms}, {"p50", cost.cost_ms}, {"p75", cost.high_ms}}},
          {"share_of_arithmetic", cost.share},
          {"times_share", cost.times_share()}};
}

}  // namespace spd
