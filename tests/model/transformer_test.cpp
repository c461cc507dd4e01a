#include "model/transformer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/model/logits.h"
#include "tests/model/virtual_run.h"

namespace spd {
namespace {

const std::filesystem::path kModels = std::filesystem::path(SPD_FIXTURES) / "models";

nlohmann::json expected(const std::string& model) {
  std::ifstream stream(kModels / model / "expected.json");
  return nlohmann::json::parse(stream);
}

std::vector<std::int32_t> first_input(const std::string& model) {
  return expected(model)["sequences"][0]["input"].get<std::vector<std::int32_t>>();
}

// Sums of f32 products in another order: differences grow with depth and with the logits' size.
// Errors of kind (a wrong rotation, head, bias) are of order 1.
constexpr double kTolerance = 2e-4;

class AgainstTransformers : public testing::TestWithParam<const char*> {};

TEST_P(AgainstTransformers, LogitsNllAndGreedyTokens) {
  const nlohmann::json reference = expected(GetParam());
  const int heads = static_cast<int>(ModelConfig::load(kModels / GetParam()).q_heads);
  for (const int ranks : {1, 2, 3, heads}) {
    if (ranks > heads) continue;
    for (const auto& sequence : reference["sequences"]) {
      SCOPED_TRACE(testing::Message() << GetParam() << " on " << ranks << " ranks");
      auto tokens = sequence["input"].get<std::vector<std::int32_t>>();
      VirtualRun run;
      run.model = kModels / GetParam();
      run.ranks = ranks;
      run.max_length = reference["rope_length"].get<std::int64_t>();
      const Logits logits = run_logits(run, tokens);
      const auto last = sequence["last_logits"].get<std::vector<float>>();
      EXPECT_LT(relative_difference({logits.back()}, {last}), kTolerance);
      double nll = 0.0;
      for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
        nll -= log_softmax(logits[i])[tokens[i + 1]] / static_cast<double>(tokens.size() - 1);
      }
      EXPECT_NEAR(nll, sequence["mean_nll_nats"].get<double>(), 1e-3);
      for (const auto& entry : sequence["log_probs"]) {
        const auto ours = log_softmax(logits[entry["position"].get<std::size_t>()]);
        const auto theirs = entry["values"].get<std::vector<double>>();
        for (std::size_t i = 0; i < theirs.size(); ++i) ASSERT_NEAR(ours[i], theirs[i], 1e-2);
      }
      for (const std::int32_t token : sequence["greedy"].get<std::vector<std::int32_t>>()) {
        EXPECT_EQ(argmax(run_logits(run, tokens).back()), token);
        tokens.push_back(token);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, AgainstTransformers,
                         testing::Values("llama", "llama-bf16", "llama-f16", "llama-biases",
                                         "llama-rope-linear", "llama-rope-dynamic",
                                         "llama-rope-yarn", "llama-sharded", "llama-tied-9-heads",
                                         "mistral", "opt", "qwen2", "qwen2-window", "qwen3"));

TEST(Transformer, StepsOfAnySizeGiveTheSameLogits) {
  for (const char* model : {"llama", "mistral", "opt"}) {
    VirtualRun run;
    run.model = kModels / model;
    const auto tokens = first_input(model);
    const Logits whole = run_logits(run, tokens);
    for (const std::int64_t step : {1, 2, 7}) {
      run.step_tokens = step;
      EXPECT_LT(relative_difference(run_logits(run, tokens), whole), kTolerance)
          << model << " in steps of " << step;
    }
  }
}

TEST(Transformer, ScalarOperatorsAgree) {
  for (const char* model : {"llama-bf16", "qwen3", "opt"}) {
    VirtualRun run;
    run.model = kModels / model;
    const auto tokens = first_input(model);
    const Logits fast = run_logits(run, tokens);
    run.reference_operators = true;
    EXPECT_LT(relative_difference(fast, run_logits(run, tokens)), kTolerance) << model;
  }
}

TEST(Transformer, SixteenBitCachesStayNear) {
  VirtualRun run;
  run.model = kModels / "llama";
  const auto tokens = first_input("llama");
  const Logits exact = run_logits(run, tokens);
  run.kv_dtype = DType::f16;  // 2^-11 relative per key and value, amplified by sharp soft-maxes
  EXPECT_LT(relative_difference(run_logits(run, tokens), exact), 0.02);
  run.kv_dtype = DType::bf16;  // 2^-8
  EXPECT_LT(relative_difference(run_logits(run, tokens), exact), 0.15);
}

// Any assignment of heads and neurons to ranks is the same model.
TEST(Transformer, PermutedPartitionsGiveTheSameLogits) {
  for (const char* model : {"llama-tied-9-heads", "opt", "qwen2"}) {
    VirtualRun run;
    run.model = kModels / model;
    const auto tokens = first_input(model);
    const Logits whole = run_logits(run, tokens);
    run.ranks = 2;
    run.edit_partition = [](Partition& partition) {
      for (auto& shards : partition.blocks) {
        std::swap(shards[0].q_heads.front(), shards[1].q_heads.back());
        std::reverse(shards[0].neurons.begin(), shards[0].neurons.end());
        shards[1].neurons.push_back(shards[0].neurons.back());
        shards[0].neurons.pop_back();
      }
    };
    EXPECT_LT(relative_difference(run_logits(run, tokens), whole), kTolerance) << model;
  }
}

}  // namespace
}  // namespace spd
