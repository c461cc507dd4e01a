// Log-likelihoods of continuations, many requests to a forward step.
//
// The requests of an item run one after the other in one cache slot: each begins where it departs
// from the one before, so a context that choices share is computed once. Steps are filled across
// items: first all items' first requests, then all second ones, and so on. Logits are computed for
// rows that predict a scored token, once for all requests that share the row.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/logit_scorer.h"
#include "runtime/tasks/encoding.h"

namespace spd {

struct Likelihood {
  double log_likelihood = 0.0;  ///< of the continuation, nats
  bool greedy = true;           ///< greedy decoding gives it
};

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
  /// `slots`: items at a time; `capacity`: tokens of the longest request's input. The engine must
  /// outlive it.
  LikelihoodScorer(Engine& engine, std::int64_t slots, std::int64_t capacity);

  /// Items that score() takes together, counted from the first of `items` (at least one): as many
  /// as there are slots, but no more tokens than make a few full steps.
  std::size_t group_size(std::span<const EncodedItem> items) const;
  /// Called on every rank behind each step. What it throws, on all ranks alike, ends score(), after
  /// which there is no other.
  using StepCallback = std::function<void()>;
  /// Likelihoods of up to `slots` items' requests. All ranks call it alike and get the same result.
  std::vector<std::vector<Likelihood>> score(std::span<const EncodedItem> items,
                                             const SyncLevels& levels,
                                             const StepCallback& behind_step = {});
  const LikelihoodWork& work() const { return work_; }

 private:
  /// Tokens of one item to be run, from `position` on; what comes before is in the slot already.
  struct Part {
    std::int64_t slot = 0;
    std::int64_t position = 0;
    std::span<const TokenId> tokens;
  };
  /// A scored token and the cell that predicts it; cells count the tokens of all parts in order.
  struct Ask {
    std::int64_t cell = 0;
    TokenId token = 0;
    std::size_t item = 0;
    std::size_t request = 0;
  };

  void lay_out(std::span<const EncodedItem> items);
  void run_step(const SyncLevels& levels, const StepCallback& behind_step);
  void score_rows();

  Engine& engine_;
  KvCache cache_;
  LogitScorer scorer_;
  Buffer hidden_;  // [scorer rows, hidden]
  LikelihoodWork work_;

  // Of the group being scored.
  std::vector<Part> parts_;
  std::vector<Ask> asks_;  // by cell
  std::vector<std::vector<Likelihood>> result_;
  std::int64_t cells_done_ = 0;
  std::size_t asks_done_ = 0;       // scored
  std::size_t asks_waiting_ = 0;    // behind those: their rows are in hidden_
  std::vector<RowTarget> targets_;  // of the waiting ones
  // The step being filled.
  std::vector<TokenId> tokens_;
  std::vector<Segment> segments_;
};

}  // namespace spd
