// Log-likelihoods of continuations, many requests to a forward step.
//
// The requests of an item run one after the other in one cache slot: each begins where it departs
// from the one before, so a context that choices share is computed once. A step takes the next
// request of every item that has begun, the oldest first, and begins others while it has room: so
// steps are full, and items come to their end one after the other, a few steps after they began.
// Logits are computed for rows that predict a scored token, once for all requests that share the
// row.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <vector>

#include "runtime/evaluation/encoding.h"
#include "runtime/inference/logit_scorer.h"

namespace spd {

struct Likelihood {
  double log_likelihood = 0.0;  ///< of the continuation, nats
  bool greedy = true;           ///< greedy decoding gives it
};

/// Of one item, [variants][requests].
using ItemLikelihoods = std::vector<std::vector<Likelihood>>;

/// What was computed, for a figure of speed.
struct LikelihoodWork {
  std::int64_t requests = 0;
  std::int64_t request_tokens = 0;  ///< that the requests would take one by one
  std::int64_t tokens = 0;          ///< run through the blocks
  std::int64_t rows = 0;            ///< of logits
  std::int64_t steps = 0;

  void add(const LikelihoodWork& other) {
    requests += other.requests;
    request_tokens += other.request_tokens;
    tokens += other.tokens;
    rows += other.rows;
    steps += other.steps;
  }
};

class LikelihoodScorer {
 public:
  /// An item is done: its place among the items, and its likelihoods.
  using Done = std::function<void(std::size_t, ItemLikelihoods)>;

  /// `variants`: each item is run under each of them, step by step side by side. `slots`: items
  /// under way at a time; `capacity`: tokens of the longest request's input. The engine must
  /// outlive it.
  LikelihoodScorer(Engine& engine, std::vector<SyncLevels> variants, std::int64_t slots,
                   std::int64_t capacity);

  /// Tells `done` of each item, and calls `behind_step`, if given, behind each step's; both on all
  /// ranks alike, which call this alike and get the same results. Either may throw.
  void score(std::span<const EncodedItem> items, const Done& done,
             const std::function<void()>& behind_step = {});
  const LikelihoodWork& work() const { return work_; }

 private:
  /// Tokens to be run, from `position` of the item's slot on; what comes before is there already.
  struct Piece {
    std::int64_t position = 0;
    std::span<const TokenId> tokens;
  };
  /// A scored token and the cell that predicts it; cells count the tokens of an item's pieces.
  struct Ask {
    std::int64_t cell = 0;
    TokenId token = 0;
    std::size_t request = 0;
  };
  /// An item that has begun.
  struct Running {
    std::size_t item = 0;
    std::int64_t slot = 0;
    std::vector<Piece> pieces;
    std::vector<Ask> asks;  // by cell
    std::size_t piece = 0;  // the next
    std::int64_t cells_done = 0;
    std::size_t asks_done = 0;
    ItemLikelihoods result;
  };
  /// A row of the step that predicts something.
  struct Wanted {
    std::int64_t row = 0;
    Running* of = nullptr;
    std::size_t ask = 0;
  };

  Running begin(const EncodedItem& item, std::size_t place, std::int64_t slot);
  void take_piece(Running& running);
  void run_step();
  void score_rows(std::size_t variant, ConstActivations hidden);
  void score_kept(std::size_t variant, std::span<const RowTarget> targets,
                  std::span<const Wanted> wanted);

  Engine& engine_;
  std::vector<SyncLevels> variants_;
  std::int64_t slots_;
  std::vector<KvCache> caches_;  // [variants]
  LogitScorer scorer_;
  Buffer hidden_;  // [scorer rows, hidden]
  LikelihoodWork work_;
  std::list<Running> running_;  // the oldest first
  // The step being filled.
  std::vector<TokenId> tokens_;
  std::vector<Segment> segments_;
  std::vector<Wanted> wanted_;  // by row
};

}  // namespace spd
