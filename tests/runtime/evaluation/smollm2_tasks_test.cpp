// The trained model in bf16 against what lm-evaluation-harness finds with transformers in fp32.
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/evaluation/likelihood.h"
#include "tests/runtime/evaluation/reference.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

// Weights are the same bits and products are in f32 (--exact); the cache is f16.
// Errors of single tokens add up over a continuation's.
constexpr double kTokenError = 0.06;  // nats a scored token, root mean square over an item at most
constexpr double kMeanError = 0.012;  // nats a token, over all items of a task

class SmolLm2Tasks : public testing::TestWithParam<Task> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(trained_model() / "model.safetensors")) {
      GTEST_SKIP() << trained_model() << " is not there: run scripts/fetch-model.py";
    }
  }
};

TEST_P(SmolLm2Tasks, GivesTheHarnesssLikelihoods) {
  const auto reference = read_task_reference().at(GetParam().name);
  const auto tokenizer = Tokenizer::load(trained_model());
  RequestEncoder encoder(*tokenizer, std::nullopt, 2048);
  std::vector<EncodedItem> items;
  for (const auto& item : reference) {
    items.push_back(encoder.encode(TaskItem{0, reference_requests(item), 0, {}}));
  }
  EngineOptions options;
  options.model = trained_model();
  options.exact = true;
  std::vector<std::vector<Likelihood>> alone;
  for (const int ranks : {1, 3}) {
    std::vector<std::vector<Likelihood>> scores(items.size());
    on_ranks({ranks, 1}, options, 2048, [&](Engine& engine) {
      LikelihoodScorer scorer(engine, {SyncLevels::all_full(engine.config().blocks)}, 16, 1024);
      const bool root = engine.context().root();
      scorer.score(items, [&](std::size_t item, const ItemLikelihoods& likelihoods) {
        if (root) scores[item] = likelihoods[0];
      });
    });
    if (ranks == 1) alone = scores;
    double error = 0.0;
    double tokens = 0.0;
    for (std::size_t i = 0; i < items.size(); ++i) {
      for (std::size_t r = 0; r < items[i].size(); ++r) {
        const auto scored = static_cast<double>(items[i][r].scored);
        const double wanted = reference[i]["log_likelihood_nats"][r];
        const double got = scores[i][r].log_likelihood;
        EXPECT_NEAR(got, wanted, kTokenError * std::sqrt(scored) + kMeanError * scored)
            << ranks << " ranks: " << reference[i]["requests"][r];
        EXPECT_NEAR(got, alone[i][r].log_likelihood, kTokenError * std::sqrt(scored))
            << ranks << " ranks";
        error += got - wanted;
        tokens += scored;
      }
    }
    EXPECT_LT(std::abs(error) / tokens, kMeanError) << ranks << " ranks";
  }
}

// What lm-evaluation-harness 0.4.13 makes of them with this tokenizer: Python strips the no-break
// space, too, from the context's end.
TEST(SmolLm2Requests, WhiteSpaceOfAnyKindGoesWithTheContinuation) {
  if (!std::filesystem::exists(trained_model() / "tokenizer.json")) {
    GTEST_SKIP() << trained_model() << " is not there: run scripts/fetch-model.py";
  }
  struct Row {
    const char* text;
    std::vector<TokenId> context, scored;
  };
  const auto tokenizer = Tokenizer::load(trained_model());
  const Task lambada = parse_tasks("lambada_openai").front();
  RequestEncoder encoder(*tokenizer, std::nullopt, 2048);
  for (const auto& [text, context, scored] :
       {Row{"a b\u00A0 c", {81, 278}, {15442, 265}},
        Row{"He said hello\u00A0 there", {3681, 1137, 33662}, {15442, 665}}}) {
    const TaskItem item = lambada.make_item(JsonObject::of({{"text", text}}, "items"));
    const EncodedRequest request = encoder.encode(item).front();
    ASSERT_EQ(request.scored, std::ssize(scored));
    const auto split = request.ids.end() - request.scored;
    EXPECT_EQ(std::vector<TokenId>(request.ids.begin(), split), context);
    EXPECT_EQ(std::vector<TokenId>(split, request.ids.end()), scored);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SmolLm2Tasks, testing::ValuesIn(known_tasks()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace spd
