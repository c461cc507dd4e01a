// What a plan's missing-sum predictions cost, against their share of the arithmetic.
#pragma once

#include <vector>

#include "model/transformer.h"
#include "runtime/bench/benchmark.h"

namespace spd {

/// The predictions that these levels use, on this rank.
struct PredictionUse {
  bool attn = false;
  bool mlp = false;
  /// The elements of their matrices, which is what they multiply a token by, over those of all
  /// blocks' weights. 0: none is used, or only means.
  double share = 0.0;
};
PredictionUse prediction_use(const Shard& shard, const SyncLevels& levels);

struct PredictionCost {
  std::string test;
  double without_ms = 0.0;  ///< in blocks, without syncs and predictions; the median repetition
  /// What predictions add to the kinds of work that they are made in, since a machine's noise in
  /// all others is larger than they are: the median of repetitions in turn.
  double cost_ms = 0.0;
  double low_ms = 0.0;   ///< a quarter of the repetitions says less
  double high_ms = 0.0;  ///< and a quarter more
  double share = 0.0;    ///< see PredictionUse
  double times_share() const { return cost_ms / without_ms / share; }
};

/// The variant that makes no predictions.
inline constexpr const char* kUnpredicted = "unpredicted";
/// One for each test that was run both as "plan" and as kUnpredicted.
std::vector<PredictionCost> prediction_costs(const std::vector<TestResult>& results,
                                             const PredictionUse& use);

void print(const std::vector<PredictionCost>& costs);
nlohmann::json to_json(const PredictionCost& cost);

}  // namespace spd
