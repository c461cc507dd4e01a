#include "runtime/evaluation/likelihood.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace spd {
namespace {

constexpr std::int64_t kLogitRows = 64;  // held at a time: a vocabulary wide each

}  // namespace

LikelihoodScorer::LikelihoodScorer(Engine& engine, std::vector<SyncLevels> variants,
                                   std::int64_t slots, std::int64_t capacity)
    : engine_(engine),
      variants_(std::move(variants)),
      slots_(slots),
      scorer_(engine, kLogitRows),
      hidden_(engine.operators().device(), kLogitRows * engine.config().hidden * sizeof(float)) {
  for (std::size_t i = 0; i < variants_.size(); ++i) {
    caches_.push_back(engine.make_cache(slots, capacity));
  }
}

// Decides what of an item is run, in which order, and which token predicts what.
LikelihoodScorer::Running LikelihoodScorer::begin(const EncodedItem& item, std::size_t place,
                                                  std::int64_t slot) {
  Running running;
  running.item = place;
  running.slot = slot;
  running.result.assign(variants_.size(), std::vector<Likelihood>(item.size()));
  std::span<const TokenId> holds;   // what the slot has then
  std::vector<std::int64_t> cells;  // of those tokens
  std::int64_t next_cell = 0;
  for (std::size_t number = 0; number < item.size(); ++number) {
    const EncodedRequest& request = item[number];
    const auto input = request.input();
    const auto differs = std::mismatch(holds.begin(), holds.end(), input.begin(), input.end());
    const auto shared = static_cast<std::size_t>(differs.second - input.begin());
    if (shared < input.size()) {
      running.pieces.push_back({static_cast<std::int64_t>(shared), input.subspan(shared)});
      holds = input;
      cells.resize(shared);
      while (cells.size() < input.size()) cells.push_back(next_cell++);
    }
    const std::size_t first = input.size() - static_cast<std::size_t>(request.scored);
    for (std::size_t p = first; p < input.size(); ++p) {
      running.asks.push_back({cells[p], request.ids[p + 1], number});
    }
    work_.requests += std::ssize(variants_);
    work_.request_tokens += std::ssize(variants_) * std::ssize(input);
  }
  std::stable_sort(running.asks.begin(), running.asks.end(),
                   [](const Ask& a, const Ask& b) { return a.cell < b.cell; });
  return running;
}

// Puts an item's next tokens into the step, as many as there is room for; no more than one piece,
// since a slot's next request overwrites the one before.
void LikelihoodScorer::take_piece(Running& running) {
  const auto row = std::ssize(tokens_);
  const std::int64_t room = engine_.transformer().options().max_tokens - row;
  if (room == 0) return;
  Piece& piece = running.pieces[running.piece];
  const std::int64_t count = std::min(room, static_cast<std::int64_t>(piece.tokens.size()));
  segments_.push_back({row, count, running.slot, piece.position});
  tokens_.insert(tokens_.end(), piece.tokens.begin(), piece.tokens.begin() + count);
  const std::int64_t end = running.cells_done + count;
  for (; running.asks_done < running.asks.size() && running.asks[running.asks_done].cell < end;
       ++running.asks_done) {
    const std::int64_t cell = running.asks[running.asks_done].cell;
    wanted_.push_back({row + cell - running.cells_done, &running, running.asks_done});
  }
  running.cells_done = end;
  piece.position += count;
  piece.tokens = piece.tokens.subspan(count);
  if (piece.tokens.empty()) ++running.piece;
}

void LikelihoodScorer::score(std::span<const EncodedItem> items, const Done& done,
                             const std::function<void()>& behind_step) {
  std::vector<std::int64_t> free_slots(slots_);  // the last is taken first
  std::iota(free_slots.rbegin(), free_slots.rend(), std::int64_t{0});
  running_.clear();
  std::size_t next = 0;
  while (next < items.size() || !running_.empty()) {
    for (Running& running : running_) take_piece(running);
    const std::int64_t most = engine_.transformer().options().max_tokens;
    while (next < items.size() && !free_slots.empty() && std::ssize(tokens_) < most) {
      running_.push_back(begin(items[next], next, free_slots.back()));
      free_slots.pop_back();
      take_piece(running_.back());
      ++next;
    }
    run_step();
    for (auto at = running_.begin(); at != running_.end();) {
      if (at->piece < at->pieces.size()) {
        ++at;
        continue;
      }
      done(at->item, std::move(at->result));
      free_slots.push_back(at->slot);
      at = running_.erase(at);
    }
    if (behind_step) behind_step();
  }
}

void LikelihoodScorer::run_step() {
  for (std::size_t variant = 0; variant < variants_.size(); ++variant) {
    const ConstActivations hidden = engine_.transformer().forward(
        tokens_, segments_, variants_[variant], caches_[variant], engine_.stream());
    score_rows(variant, hidden);
    work_.tokens += hidden.rows;
    ++work_.steps;
  }
  tokens_.clear();
  segments_.clear();
  wanted_.clear();
}

// Gathers the step's rows that predict a scored token, as many as are held at a time.
void LikelihoodScorer::score_rows(std::size_t variant, ConstActivations hidden) {
  const Activations kept(hidden_.as<float>(), kLogitRows, hidden.cols);
  std::vector<RowTarget> targets;
  std::size_t first = 0;  // of `wanted_` that waits
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < wanted_.size(); ++i) {
    const Wanted& wanted = wanted_[i];
    if (rows == 0 || wanted.row != wanted_[i - 1].row) {
      if (rows == kLogitRows) {
        score_kept(variant, targets, std::span(wanted_).subspan(first, i - first));
        targets.clear();
        first = i;
        rows = 0;
      }
      engine_.operators().copy(hidden.row_range(wanted.row, 1), kept.row_range(rows, 1),
                               engine_.stream());
      ++rows;
    }
    targets.push_back({rows - 1, wanted.of->asks[wanted.ask].token});
  }
  score_kept(variant, targets, std::span(wanted_).subspan(first));
}

// `targets`: of `wanted`, one each; their rows are in hidden_.
void LikelihoodScorer::score_kept(std::size_t variant, std::span<const RowTarget> targets,
                                  std::span<const Wanted> wanted) {
  if (targets.empty()) return;
  const std::int64_t rows = targets.back().row + 1;
  const ConstActivations hidden(hidden_.as<float>(), rows, engine_.config().hidden);
  const LogitScores scores = scorer_.score(hidden, targets);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const Ask& ask = wanted[i].of->asks[wanted[i].ask];
    Likelihood& likelihood = wanted[i].of->result[variant][ask.request];
    likelihood.log_likelihood += scores.log_probs[i];
    if (scores.rows[targets[i].row].best != ask.token) likelihood.greedy = false;
  }
  work_.rows += rows;
}

}  // namespace spd
