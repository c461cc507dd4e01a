#include "runtime/evaluation/perplexity.h"

#include <gtest/gtest.h>

#include "kernels/device/error.h"
#include "tests/model/logits.h"
#include "tests/model/virtual_run.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

constexpr const char* kModel = "llama-tied-9-heads";

std::vector<std::int32_t> tokens(std::int64_t count) {
  const std::int64_t vocab = ModelConfig::load(fixture_model(kModel)).vocab;
  std::vector<std::int32_t> ids(count);
  for (std::int64_t i = 0; i < count; ++i) {
    ids[i] = static_cast<std::int32_t>((i * i * 31 + 7 * i + 3) % vocab);
  }
  return ids;
}

SyncLevels without_attention_syncs(std::int64_t blocks) {
  SyncLevels levels = SyncLevels::all_full(blocks);
  levels.level.attn.assign(blocks, SyncLevel::drop);
  return levels;
}

TextEvaluation evaluate(int ranks, const WindowOptions& windows, std::int64_t count,
                        bool with_baseline, std::int64_t batch_tokens = 512) {
  EngineOptions options = exact_options(fixture_model(kModel));
  options.batch_tokens = batch_tokens;
  TextEvaluation result;
  on_ranks({ranks, 1}, options, windows.window, [&](Engine& engine) {
    const std::int64_t blocks = engine.config().blocks;
    const auto full = SyncLevels::all_full(blocks);
    const auto evaluation = evaluate_text(engine, tokens(count), windows,
                                          with_baseline ? without_attention_syncs(blocks) : full,
                                          with_baseline ? std::optional(full) : std::nullopt);
    if (engine.context().root()) result = evaluation;
  });
  return result;
}

// Log-probabilities of every position of one window, by whole logits.
std::vector<std::vector<double>> log_probs(int ranks, const std::vector<std::int32_t>& window,
                                           bool drop) {
  VirtualRun run;
  run.model = fixture_model(kModel);
  run.ranks = ranks;
  if (drop) {
    run.edit_levels = [](SyncLevels& levels) { levels = without_attention_syncs(levels.blocks()); };
  }
  std::vector<std::vector<double>> result;
  for (const auto& row : run_logits(run, window)) result.push_back(log_softmax(row));
  return result;
}

// Windows of 40 tokens every 30, of 100: [0, 40), [30, 70), [60, 100), [90, 100).
TEST(EvaluateText, AddsUpWhatTheLogitsSay) {
  const auto ids = tokens(100);
  for (const int ranks : {1, 3}) {
    const TextEvaluation evaluation = evaluate(ranks, {40, 30, 0}, 100, false);
    double sum = 0.0;
    std::int64_t scored = 0;
    std::size_t window = 0;
    for (std::int64_t begin = 0; begin < 100; begin += 30) {
      const std::vector<std::int32_t> part(ids.begin() + begin,
                                           ids.begin() + std::min<std::int64_t>(begin + 40, 100));
      const auto rows = log_probs(ranks, part, false);
      double nll = 0.0;
      for (std::size_t i = 1; i < part.size(); ++i) nll -= rows[i - 1][part[i]];
      ASSERT_LT(window, evaluation.window_nll.size());
      EXPECT_NEAR(evaluation.window_nll[window++], nll / static_cast<double>(part.size() - 1),
                  1e-4);
      sum += nll;
      scored += static_cast<std::int64_t>(part.size()) - 1;
    }
    EXPECT_EQ(window, evaluation.window_nll.size());
    EXPECT_EQ(evaluation.plan.windows, 4);
    EXPECT_EQ(evaluation.plan.tokens, scored);
    EXPECT_NEAR(evaluation.plan.nll(), sum / static_cast<double>(scored), 1e-4);
    EXPECT_FALSE(evaluation.baseline || evaluation.divergence);
  }
}

TEST(EvaluateText, ComparesWithTheBaseline) {
  const auto ids = tokens(80);  // two windows; more tokens than logits are held at a time
  const TextEvaluation evaluation = evaluate(3, {70, 70, 0}, 80, true);
  double kl = 0.0, largest = 0.0, plan_nll = 0.0, baseline_nll = 0.0;
  std::int64_t same = 0, scored = 0;
  for (const auto& [begin, end] : {std::pair{0, 70}, std::pair{70, 80}}) {
    const std::vector<std::int32_t> part(ids.begin() + begin, ids.begin() + end);
    const auto p = log_probs(3, part, false), q = log_probs(3, part, true);
    for (std::size_t i = 0; i + 1 < part.size(); ++i) {
      for (std::size_t token = 0; token < p[i].size(); ++token) {
        kl += std::exp(p[i][token]) * (p[i][token] - q[i][token]);
        largest = std::max(largest, std::abs(p[i][token] - q[i][token]));
      }
      same += std::ranges::max_element(p[i]) - p[i].begin() ==
                      std::ranges::max_element(q[i]) - q[i].begin()
                  ? 1
                  : 0;
      baseline_nll -= p[i][part[i + 1]];
      plan_nll -= q[i][part[i + 1]];
      ++scored;
    }
  }
  ASSERT_TRUE(evaluation.baseline && evaluation.divergence);
  EXPECT_EQ(evaluation.divergence->tokens, scored);
  EXPECT_EQ(evaluation.divergence->same_top1, same);
  EXPECT_LT(same, scored) << "the plans differ too little for this test";
  EXPECT_NEAR(evaluation.divergence->kl_sum, kl, 1e-3 * kl);
  EXPECT_NEAR(evaluation.divergence->largest_log_prob, largest, 1e-3 * largest);
  EXPECT_NEAR(evaluation.baseline->nll_sum, baseline_nll, 1e-4 * baseline_nll);
  EXPECT_NEAR(evaluation.plan.nll_sum, plan_nll, 1e-4 * plan_nll);
}

TEST(EvaluateText, LimitAndStepsChangeNothingElse) {
  const TextEvaluation all = evaluate(2, {30, 30, 0}, 90, true);
  const TextEvaluation first = evaluate(2, {30, 30, 2}, 90, true);
  ASSERT_EQ(first.plan.windows, 2);
  EXPECT_EQ(first.window_nll,
            std::vector<double>(all.window_nll.begin(), all.window_nll.begin() + 2));
  const TextEvaluation steps = evaluate(2, {30, 30, 0}, 90, true, 7);
  EXPECT_NEAR(steps.plan.nll_sum, all.plan.nll_sum, 1e-4 * all.plan.nll_sum);
  EXPECT_NEAR(steps.divergence->kl_sum, all.divergence->kl_sum, 1e-3 * all.divergence->kl_sum);
}

TEST(EvaluateText, NeedsTwoTokens) {
  EXPECT_NO_THROW(evaluate(2, {30, 30, 0}, 2, false));
  EXPECT_THROW(evaluate(2, {30, 30, 0}, 1, false), Error);
}

}  // namespace
}  // namespace spd
