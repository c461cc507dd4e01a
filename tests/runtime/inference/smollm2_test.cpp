// The trained model in bf16 against what transformers says of it in fp32.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/evaluation/perplexity.h"
#include "runtime/inference/generator.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

class SmolLm2Model : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(trained_model() / "model.safetensors")) {
      GTEST_SKIP() << trained_model() << " is not there: run scripts/fetch-model.py";
    }
    std::ifstream stream(std::filesystem::path(SPD_FIXTURES) / "smollm2" / "reference.json");
    reference_ = nlohmann::json::parse(stream);
    options_.model = trained_model();
  }

  TextEvaluation evaluate(int ranks, const nlohmann::json& text) const {
    const auto ids = text["ids"].get<std::vector<std::int32_t>>();
    TextEvaluation result;
    on_ranks({ranks, 1}, options_, 512, [&](Engine& engine) {
      const auto evaluation =
          evaluate_text(engine, ids, {512, 512, static_cast<std::int64_t>(ids.size()) / 512},
                        SyncLevels::all_full(engine.config().blocks), std::nullopt);
      if (engine.context().root()) result = evaluation;
    });
    return result;
  }

  nlohmann::json reference_;
  EngineOptions options_;
};

TEST_F(SmolLm2Model, ContinuesAsTransformersDoes) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (const auto& entry : reference_["continuations"]) {
    prompts.push_back(entry["input"].get<std::vector<std::int32_t>>());
  }
  GenerationOptions generation;
  generation.max_new_tokens = 32;
  for (const int ranks : {1, 2, 3}) {
    on_ranks({ranks, 1}, options_, 128, [&](Engine& engine) {
      Generator generator(engine, generation, 8, 128);
      const auto completions = generator.run(prompts);
      if (!engine.context().root()) return;
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        auto expected = reference_["continuations"][i]["output"].get<std::vector<std::int32_t>>();
        if (completions[i].stopped) expected.pop_back();  // its last token is the end of text
        EXPECT_EQ(completions[i].ids, expected)
            << ranks << " ranks: " << reference_["continuations"][i]["prompt"];
      }
    });
  }
}

TEST_F(SmolLm2Model, PredictsWikiTextAsTransformersDoes) {
  const auto& text = reference_["wikitext2_valid"];
  const TextEvaluation evaluation = evaluate(1, text);
  ASSERT_EQ(evaluation.window_nll.size(), 4U);
  EXPECT_NEAR(evaluation.plan.nll(), text["nll_nats"].get<double>(), 0.01);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(evaluation.window_nll[i], text["window_nll_nats"][i].get<double>(), 0.02) << i;
  }
}

// 9 ranks: a query head each, and every KV head on three of them; 2 and 4: uneven shares.
TEST_F(SmolLm2Model, IsTheSameModelOnAnyNumberOfRanks) {
  auto text = reference_["text"];
  const double alone = evaluate(1, text).plan.nll();
  EXPECT_NEAR(alone, text["nll_nats"].get<double>(), 0.01);
  for (const int ranks : {2, 3, 4, 9}) {
    EXPECT_NEAR(evaluate(ranks, text).plan.nll(), alone, 2e-3) << ranks << " ranks";
  }
}

}  // namespace
}  // namespace spd
