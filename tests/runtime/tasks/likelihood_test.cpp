// Likelihoods against whole logits of each request run on its own.
#include "runtime/tasks/likelihood.h"

#include <gtest/gtest.h>

#include "tests/model/logits.h"
#include "tests/model/virtual_run.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

constexpr const char* kModel = "llama-tied-9-heads";
constexpr double kNear = 1e-4;  // nats; sums of a few f32 log-probabilities

EncodedRequest request(std::vector<TokenId> ids, std::int64_t scored) {
  return {std::move(ids), scored};
}

// Shared contexts, one inside another, continuations that share a beginning, of one token, a scored
// part within what is shared, contexts that differ (WinoGrande), a lone request (LAMBADA).
std::vector<EncodedItem> make_items() {
  return {
      {request({1, 2, 3, 4, 5, 60}, 2), request({1, 2, 3, 4, 70, 80, 90}, 3),
       request({1, 2, 3, 4, 70, 81}, 2), request({1, 2, 3, 4, 5, 61}, 2)},
      {request({9, 8, 7}, 1), request({9, 8, 6}, 1)},
      {request({20, 21, 30, 31, 32}, 2), request({20, 21, 40, 41, 31, 32}, 2)},
      {request({50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61}, 1)},
      {request({5, 6}, 1), request({5, 6, 7, 8}, 3), request({5, 6, 7}, 2)},
      {request({100, 101, 102}, 2), request({100, 101, 102}, 2)},
  };
}

SyncLevels some_dropped(std::int64_t blocks) {
  SyncLevels levels = SyncLevels::all_full(blocks);
  levels.level.attn.assign(blocks, SyncLevel::drop);
  return levels;
}

std::vector<std::vector<Likelihood>> expected(int ranks, bool drop) {
  VirtualRun run;
  run.model = fixture_model(kModel);
  run.ranks = ranks;
  if (drop) {
    run.edit_levels = [](SyncLevels& levels) { levels = some_dropped(levels.blocks()); };
  }
  std::vector<std::vector<Likelihood>> result;
  for (const EncodedItem& item : make_items()) {
    result.emplace_back();
    for (const EncodedRequest& one : item) {
      Likelihood likelihood;
      const auto logits = run_logits(run, {one.input().begin(), one.input().end()});
      for (std::size_t p = one.ids.size() - one.scored; p < one.ids.size(); ++p) {
        likelihood.log_likelihood += log_softmax(logits[p - 1])[one.ids[p]];
        if (argmax(logits[p - 1]) != one.ids[p]) likelihood.greedy = false;
      }
      result.back().push_back(likelihood);
    }
  }
  return result;
}

struct Case {
  int ranks;
  std::int64_t batch_tokens, slots;
  bool drop;
};

class Likelihoods : public testing::TestWithParam<Case> {};

TEST_P(Likelihoods, AreThoseOfEachRequestOnItsOwn) {
  const Case& c = GetParam();
  const auto wanted = expected(c.ranks, c.drop);
  const auto items = make_items();
  EngineOptions options = exact_options(fixture_model(kModel));
  options.batch_tokens = c.batch_tokens;
  on_ranks({c.ranks, 1}, options, 11, [&](Engine& engine) {
    LikelihoodScorer scorer(engine, c.slots, 11);
    const std::int64_t blocks = engine.config().blocks;
    const SyncLevels levels = c.drop ? some_dropped(blocks) : SyncLevels::all_full(blocks);
    std::size_t at = 0;
    while (at < items.size()) {
      const auto rest = std::span(items).subspan(at);
      const std::size_t count = scorer.group_size(rest);
      ASSERT_GE(count, 1U);
      ASSERT_LE(count, static_cast<std::size_t>(c.slots));
      const auto scores = scorer.score(rest.first(count), levels);
      ASSERT_EQ(scores.size(), count);
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(scores[i].size(), items[at + i].size());
        for (std::size_t r = 0; r < scores[i].size(); ++r) {
          EXPECT_NEAR(scores[i][r].log_likelihood, wanted[at + i][r].log_likelihood, kNear)
              << "item " << at + i << " request " << r;
          EXPECT_EQ(scores[i][r].greedy, wanted[at + i][r].greedy);
        }
      }
      at += count;
    }
    // What requests share with the one before is run once; rows are those that predict something.
    const LikelihoodWork& work = scorer.work();
    EXPECT_EQ(work.requests, 14);
    EXPECT_EQ(work.tokens, (5 + 2 + 0 + 1) + 2 + (4 + 3) + 11 + (1 + 2) + 2);
    EXPECT_EQ(work.rows, (2 + 2 + 1) + 1 + (2 + 2) + 1 + 3 + 2);
  });
}

INSTANTIATE_TEST_SUITE_P(Batches, Likelihoods,
                         testing::Values(Case{1, 512, 6, false}, Case{1, 1, 6, false},
                                         Case{1, 3, 2, false}, Case{1, 7, 1, false},
                                         Case{2, 5, 6, false}, Case{3, 512, 6, true},
                                         Case{3, 4, 3, true}));

// More scored rows than are held at a time.
TEST(LikelihoodScorer, ScoresManyRows) {
  std::vector<TokenId> ids(150);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<TokenId>((i * i + 3) % 131);
  const std::vector<EncodedItem> items = {{request(ids, 149)}, {request(ids, 100)}};
  VirtualRun run;
  run.model = fixture_model(kModel);
  run.step_tokens = 150;
  const auto logits = run_logits(run, ids);
  double all = 0.0;
  double last = 0.0;
  for (std::size_t p = 1; p < ids.size(); ++p) {
    all += log_softmax(logits[p - 1])[ids[p]];
    if (p >= 50) last += log_softmax(logits[p - 1])[ids[p]];
  }
  on_ranks({1, 1}, exact_options(fixture_model(kModel)), 149, [&](Engine& engine) {
    LikelihoodScorer scorer(engine, 2, 149);
    const auto scores = scorer.score(items, SyncLevels::all_full(engine.config().blocks));
    EXPECT_NEAR(scores[0][0].log_likelihood, all, 1e-2);
    EXPECT_NEAR(scores[1][0].log_likelihood, last, 1e-2);
  });
}

}  // namespace
}  // namespace spd
