// Likelihoods against whole logits of each request run on its own.
#include "runtime/evaluation/likelihood.h"

#include <gtest/gtest.h>

#include "runtime/job/agreed_error.h"
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

// Of all items; each is told of once.
std::vector<ItemLikelihoods> score_all(LikelihoodScorer& scorer,
                                       const std::vector<EncodedItem>& items) {
  std::vector<ItemLikelihoods> scores(items.size());
  scorer.score(items, [&](std::size_t item, ItemLikelihoods likelihoods) {
    EXPECT_TRUE(scores.at(item).empty());
    scores.at(item) = std::move(likelihoods);
  });
  return scores;
}

void expect_near(const std::vector<Likelihood>& scores, const std::vector<Likelihood>& wanted,
                 std::size_t item) {
  ASSERT_EQ(scores.size(), wanted.size());
  for (std::size_t r = 0; r < scores.size(); ++r) {
    EXPECT_NEAR(scores[r].log_likelihood, wanted[r].log_likelihood, kNear)
        << "item " << item << " request " << r;
    EXPECT_EQ(scores[r].greedy, wanted[r].greedy);
  }
}

class Likelihoods : public testing::TestWithParam<Case> {};

TEST_P(Likelihoods, AreThoseOfEachRequestOnItsOwn) {
  const Case& c = GetParam();
  const auto wanted = expected(c.ranks, c.drop);
  const auto items = make_items();
  EngineOptions options = exact_options(fixture_model(kModel));
  options.batch_tokens = c.batch_tokens;
  on_ranks({c.ranks, 1}, options, 11, [&](Engine& engine) {
    const std::int64_t blocks = engine.config().blocks;
    const SyncLevels levels = c.drop ? some_dropped(blocks) : SyncLevels::all_full(blocks);
    LikelihoodScorer scorer(engine, {levels}, c.slots, 11);
    const std::vector<ItemLikelihoods> scores = score_all(scorer, items);
    for (std::size_t i = 0; i < items.size(); ++i) {
      ASSERT_EQ(scores[i].size(), 1U) << "item " << i;
      expect_near(scores[i][0], wanted[i], i);
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
    LikelihoodScorer scorer(engine, {SyncLevels::all_full(engine.config().blocks)}, 2, 149);
    const auto scores = score_all(scorer, items);
    EXPECT_NEAR(scores[0][0][0].log_likelihood, all, 1e-2);
    EXPECT_NEAR(scores[1][0][0].log_likelihood, last, 1e-2);
  });
}

TEST(LikelihoodScorer, RunsVariantsSideBySide) {
  const auto items = make_items();
  const auto full = expected(3, false);
  const auto dropped = expected(3, true);
  EngineOptions options = exact_options(fixture_model(kModel));
  options.batch_tokens = 6;
  on_ranks({3, 1}, options, 11, [&](Engine& engine) {
    const std::int64_t blocks = engine.config().blocks;
    LikelihoodScorer scorer(engine, {some_dropped(blocks), SyncLevels::all_full(blocks)}, 3, 11);
    const auto scores = score_all(scorer, items);
    for (std::size_t i = 0; i < items.size(); ++i) {
      ASSERT_EQ(scores[i].size(), 2U);
      expect_near(scores[i][0], dropped[i], i);
      expect_near(scores[i][1], full[i], i);
    }
    EXPECT_EQ(scorer.work().requests, 2 * 14);
  });
}

// A run that is killed loses the items under way, which must be few, and its steps must be full.
TEST(LikelihoodScorer, ItemsEndSoonAfterTheyBegan) {
  std::vector<EncodedItem> items;
  for (TokenId i = 0; i < 40; ++i) {
    EncodedItem item;
    for (TokenId choice = 0; choice < 4; ++choice) {
      item.push_back(request({i, 2, 3, 4, 5, 6, 7, 8, 100 + choice, 9}, 2));
    }
    items.push_back(std::move(item));
  }
  EngineOptions options = exact_options(fixture_model(kModel));
  options.batch_tokens = 24;
  on_ranks({1, 1}, options, 9, [&](Engine& engine) {
    LikelihoodScorer scorer(engine, {SyncLevels::all_full(engine.config().blocks)}, 64, 9);
    std::size_t done = 0;
    std::int64_t tokens_of_done = 0;
    std::int64_t most_lost = 0;
    scorer.score(
        items,
        [&](std::size_t item, const ItemLikelihoods&) {
          EXPECT_EQ(item, done++);
          tokens_of_done += 9 + 3;
        },
        [&] { most_lost = std::max(most_lost, scorer.work().tokens - tokens_of_done); });
    EXPECT_EQ(done, items.size());
    EXPECT_LE(most_lost, 4 * 24);
    EXPECT_LE(scorer.work().steps, 40 * 12 / 24 + 4);
  });
}

// A long item takes many steps: between them it can be seen, and ended.
TEST(LikelihoodScorer, TellsOfEveryStep) {
  const std::vector<EncodedItem> items(1, EncodedItem{request(std::vector<TokenId>(31, 5), 2)});
  EngineOptions options = exact_options(fixture_model(kModel));
  options.batch_tokens = 8;
  on_ranks({2, 1}, options, 32, [&](Engine& engine) {
    const SyncLevels levels = SyncLevels::all_full(engine.config().blocks);
    std::vector<std::int64_t> computed;
    const auto done = [](std::size_t, const ItemLikelihoods&) {};
    LikelihoodScorer scorer(engine, {levels}, 1, 32);
    scorer.score(items, done, [&] { computed.push_back(scorer.work().tokens); });
    EXPECT_EQ(computed, (std::vector<std::int64_t>{8, 16, 24, 30}));
    LikelihoodScorer stopped(engine, {levels}, 1, 32);
    EXPECT_THROW(
        stopped.score(items, done, [] { throw AgreedError(ErrorCode::interrupted, "stop"); }),
        AgreedError);
    EXPECT_EQ(stopped.work().tokens, 8);
  });
}

}  // namespace
}  // namespace spd
