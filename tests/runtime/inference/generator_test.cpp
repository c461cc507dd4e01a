#include "runtime/inference/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

using Ids = std::vector<std::int32_t>;

struct Case {
  std::string model = "llama";
  int ranks = 1;
  GenerationOptions generation;
  std::int64_t batch_tokens = 512;
  std::int64_t capacity = 64;
};

std::vector<Completion> complete(const Case& c, const std::vector<Ids>& prompts) {
  EngineOptions options = exact_options(fixture_model(c.model));
  options.batch_tokens = c.batch_tokens;
  std::vector<Completion> result;
  on_ranks({c.ranks, 1}, options, c.capacity, [&](Engine& engine) {
    Generator generator(engine, c.generation, static_cast<std::int64_t>(prompts.size()),
                        c.capacity);
    std::vector<Ids> told(prompts.size());
    std::vector<int> done(prompts.size(), 0);
    auto completions = generator.run(
        prompts, [&](std::size_t prompt, std::int32_t id) { told[prompt].push_back(id); },
        [&](std::size_t prompt, const Completion&) { ++done[prompt]; });
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(told[i], completions[i].ids) << "what was streamed";
      EXPECT_EQ(done[i], 1);
    }
    if (engine.context().root()) result = std::move(completions);
  });
  return result;
}

std::vector<Ids> ids_of(const std::vector<Completion>& completions) {
  std::vector<Ids> ids;
  for (const Completion& completion : completions) ids.push_back(completion.ids);
  return ids;
}

nlohmann::json sequences(const std::string& model) {
  std::ifstream stream(fixture_model(model) / "expected.json");
  return nlohmann::json::parse(stream)["sequences"];
}

std::vector<Ids> some_prompts() {
  std::vector<Ids> prompts;
  for (std::int32_t i = 0; i < 7; ++i) {
    prompts.emplace_back();
    for (std::int32_t j = 0; j <= 3 * i; ++j) prompts.back().push_back((17 * i + 29 * j + 3) % 131);
  }
  return prompts;
}

class GreedyGeneration : public testing::TestWithParam<const char*> {};

TEST_P(GreedyGeneration, ContinuesAsTransformersDoes) {
  std::vector<Ids> prompts, expected;
  for (const auto& sequence : sequences(GetParam())) {
    prompts.push_back(sequence["input"].get<Ids>());
    expected.push_back(sequence["greedy"].get<Ids>());
  }
  for (const int ranks : {1, 2, 4}) {
    Case c;
    c.model = GetParam();
    c.ranks = ranks;
    c.generation.max_new_tokens = static_cast<std::int64_t>(expected.front().size());
    c.generation.stop_at_eos = false;
    EXPECT_EQ(ids_of(complete(c, prompts)), expected) << ranks << " ranks";
  }
}
INSTANTIATE_TEST_SUITE_P(Models, GreedyGeneration,
                         testing::Values("llama", "mistral", "opt", "qwen2", "qwen3"));

// One at a time, some at a time, all at once; prompts in one step or in many.
TEST(Generator, ABatchIsItsPromptsAlone) {
  for (const double temperature : {0.0, 0.9}) {
    Case c;
    c.ranks = 2;
    c.generation.sampling.temperature = temperature;
    c.generation.max_new_tokens = 16;
    c.generation.batch = 1;
    const auto alone = ids_of(complete(c, some_prompts()));
    for (const std::int64_t batch : {2, 3, 16}) {
      c.generation.batch = batch;
      EXPECT_EQ(ids_of(complete(c, some_prompts())), alone) << batch << " at " << temperature;
    }
    c.batch_tokens = 16;  // shorter than the longest prompt
    EXPECT_EQ(ids_of(complete(c, some_prompts())), alone) << "in steps, at " << temperature;
  }
}

TEST(Generator, DrawsTheSameOnAnyNumberOfRanks) {
  Case c;
  c.generation.sampling = {1.0, 20, 0.95, 3};
  c.generation.max_new_tokens = 16;
  const auto one = ids_of(complete(c, some_prompts()));
  for (const int ranks : {2, 3, 4}) {
    c.ranks = ranks;
    EXPECT_EQ(ids_of(complete(c, some_prompts())), one) << ranks;
  }
  c.generation.sampling.seed = 4;
  EXPECT_NE(ids_of(complete(c, some_prompts())), one);
}

TEST(Generator, StopsAtTheEndTokenAndLeavesItOut) {
  Case c;
  c.generation.max_new_tokens = 40;
  c.generation.sampling.temperature = 3.0;  // flat enough to meet the end token (id 2) at some time
  c.generation.stop_at_eos = false;
  std::vector<Ids> prompts(40, {5, 6, 7});
  const auto on = complete(c, prompts);
  c.generation.stop_at_eos = true;
  const auto stopped = complete(c, prompts);
  int met = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto eos = std::ranges::find(on[i].ids, 2);
    EXPECT_EQ(stopped[i].ids, Ids(on[i].ids.begin(), eos));
    EXPECT_EQ(stopped[i].stopped, eos != on[i].ids.end());
    EXPECT_FALSE(on[i].stopped);
    met += stopped[i].stopped ? 1 : 0;
  }
  EXPECT_GT(met, 0) << "the test shows nothing";
}

TEST(Generator, EndsWhereTheCacheEnds) {
  Case c;
  c.capacity = 20;
  c.generation.max_new_tokens = 1000;
  c.generation.stop_at_eos = false;
  const auto completions = complete(c, {Ids(12, 9)});
  // 8 tokens fit behind the prompt, and one more is known without being put there.
  EXPECT_EQ(completions.front().ids.size(), 9U);
}

// Turn by turn, with what was computed before kept, against each turn computed anew.
TEST(Generator, AChatIsContinuedWhereItWas) {
  GenerationOptions generation;
  generation.max_new_tokens = 6;
  on_ranks({2, 1}, exact_options(fixture_model("llama")), 128, [&](Engine& engine) {
    Generator chat(engine, generation, 1, 128);
    Ids conversation = {1, 40, 41, 42};
    for (int turn = 0; turn < 5; ++turn) {
      if (turn == 3) conversation = {1, 40, 41, 50, 51};  // it goes on from an earlier point
      Generator fresh(engine, generation, 1, 128);
      const auto expected = fresh.run({conversation}).front().ids;
      const auto reply = chat.continue_chat(conversation, {}).ids;
      ASSERT_EQ(reply, expected) << "turn " << turn;
      conversation.insert(conversation.end(), reply.begin(), reply.end());
      conversation.insert(conversation.end(), {2, 60 + turn, 61});
    }
  });
}

TEST(Generator, RefusesASequenceBeyondTheContext) {
  EXPECT_THROW(on_ranks({2, 1}, exact_options(fixture_model("llama")), 129, [](Engine&) {}), Error);
}

// 64 positions hold a prompt of 60, and 4 tokens behind it; a fifth needs no place.
TEST(Generation, TellsAFullContextFromEnoughTokens) {
  struct Row {
    std::int64_t most;
    std::size_t made;
    bool full;
  };
  for (const auto& [most, made, full] : {Row{3, 3, false}, Row{5, 5, false}, Row{100, 5, true}}) {
    Case c;
    c.generation.max_new_tokens = most;
    c.generation.stop_at_eos = false;
    const auto completions = complete(c, {Ids(60, 7)});
    EXPECT_EQ(completions[0].ids.size(), made);
    EXPECT_EQ(completions[0].context_full, full) << most;
    EXPECT_TRUE(completions[0].whole);
    EXPECT_FALSE(completions[0].stopped);
  }
}

}  // namespace
}  // namespace spd
