#include "runtime/tasks/likelihood.h"

#include <algorithm>

namespace spd {
namespace {

constexpr std::int64_t kLogitRows = 64;  // held at a time: a vocabulary wide each
constexpr std::int64_t kGroupSteps = 8;  // full steps that a group of items makes

}  // namespace

LikelihoodScorer::LikelihoodScorer(Engine& engine, std::int64_t slots, std::int64_t capacity)
    : engine_(engine),
      cache_(engine.make_cache(slots, capacity)),
      scorer_(engine, kLogitRows),
      hidden_(engine.operators().device(), kLogitRows * engine.config().hidden * sizeof(float)) {}

std::size_t LikelihoodScorer::group_size(std::span<const EncodedItem> items) const {
  const std::int64_t most = kGroupSteps * engine_.transformer().options().max_tokens;
  std::int64_t tokens = 0;
  std::size_t count = 0;
  for (; count < items.size() && static_cast<std::int64_t>(count) < cache_.slots(); ++count) {
    for (const EncodedRequest& request : items[count]) {
      tokens += static_cast<std::int64_t>(request.input().size());
    }
    if (count > 0 && tokens > most) break;
  }
  return count;
}

// Decides what is run, in which order, and which token predicts what.
void LikelihoodScorer::lay_out(std::span<const EncodedItem> items) {
  parts_.clear();
  asks_.clear();
  result_.clear();
  cells_done_ = 0;
  asks_done_ = asks_waiting_ = 0;
  struct Slot {
    std::span<const TokenId> holds;
    std::vector<std::int64_t> cells;  // by position
  };
  std::vector<Slot> slots(items.size());
  std::size_t waves = 0;
  for (const EncodedItem& item : items) {
    result_.emplace_back(item.size());
    waves = std::max(waves, item.size());
  }
  std::int64_t cell = 0;
  for (std::size_t wave = 0; wave < waves; ++wave) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (wave >= items[i].size()) continue;
      const EncodedRequest& request = items[i][wave];
      const auto input = request.input();
      Slot& slot = slots[i];
      const auto differs =
          std::mismatch(slot.holds.begin(), slot.holds.end(), input.begin(), input.end());
      const auto shared = static_cast<std::size_t>(differs.second - input.begin());
      if (shared < input.size()) {
        parts_.push_back({static_cast<std::int64_t>(i), static_cast<std::int64_t>(shared),
                          input.subspan(shared)});
        slot.holds = input;
        slot.cells.resize(shared);
        while (slot.cells.size() < input.size()) slot.cells.push_back(cell++);
      }
      const std::size_t first = input.size() - static_cast<std::size_t>(request.scored);
      for (std::size_t p = first; p < input.size(); ++p) {
        asks_.push_back({slot.cells[p], request.ids[p + 1], i, wave});
      }
      ++work_.requests;
      work_.request_tokens += static_cast<std::int64_t>(input.size());
    }
  }
  std::stable_sort(asks_.begin(), asks_.end(),
                   [](const Ask& a, const Ask& b) { return a.cell < b.cell; });
}

std::vector<std::vector<Likelihood>> LikelihoodScorer::score(std::span<const EncodedItem> items,
                                                             const SyncLevels& levels,
                                                             const StepCallback& behind_step) {
  lay_out(items);
  const std::int64_t most = engine_.transformer().options().max_tokens;
  for (Part part : parts_) {
    // A slot's next request overwrites the one before: not in the same step.
    const auto is_mine = [&](const Segment& segment) { return segment.slot == part.slot; };
    if (std::any_of(segments_.begin(), segments_.end(), is_mine)) run_step(levels, behind_step);
    while (!part.tokens.empty()) {
      const auto row = static_cast<std::int64_t>(tokens_.size());
      const std::int64_t count =
          std::min(most - row, static_cast<std::int64_t>(part.tokens.size()));
      segments_.push_back({row, count, part.slot, part.position});
      tokens_.insert(tokens_.end(), part.tokens.begin(), part.tokens.begin() + count);
      part.position += count;
      part.tokens = part.tokens.subspan(count);
      if (row + count == most) run_step(levels, behind_step);
    }
  }
  run_step(levels, behind_step);
  score_rows();
  return std::move(result_);
}

// Runs the step that was filled and keeps the rows that predict a scored token.
void LikelihoodScorer::run_step(const SyncLevels& levels, const StepCallback& behind_step) {
  if (tokens_.empty()) return;
  const ConstActivations hidden =
      engine_.transformer().forward(tokens_, segments_, levels, cache_, engine_.stream());
  const Activations kept(hidden_.as<float>(), kLogitRows, hidden.cols);
  const std::int64_t end = cells_done_ + hidden.rows;
  std::int64_t last_cell = -1;
  for (std::size_t i = asks_done_ + asks_waiting_; i < asks_.size() && asks_[i].cell < end; ++i) {
    const Ask& ask = asks_[i];
    if (ask.cell != last_cell) {
      const std::int64_t next = targets_.empty() ? 0 : targets_.back().row + 1;
      if (next == kLogitRows) score_rows();
      const std::int64_t row = next % kLogitRows;
      engine_.operators().copy(hidden.row_range(ask.cell - cells_done_, 1), kept.row_range(row, 1),
                               engine_.stream());
      targets_.push_back({row, ask.token});
      last_cell = ask.cell;
    } else {
      targets_.push_back({targets_.back().row, ask.token});
    }
    ++asks_waiting_;
  }
  work_.tokens += hidden.rows;
  ++work_.steps;
  cells_done_ = end;
  tokens_.clear();
  segments_.clear();
  if (behind_step) behind_step();
}

void LikelihoodScorer::score_rows() {
  if (targets_.empty()) return;
  const std::int64_t rows = targets_.back().row + 1;
  const ConstActivations hidden(hidden_.as<float>(), rows, engine_.config().hidden);
  const LogitScores scores = scorer_.score(hidden, targets_);
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const Ask& ask = asks_[asks_done_ + i];
    Likelihood& likelihood = result_[ask.item][ask.request];
    likelihood.log_likelihood += scores.log_probs[i];
    if (scores.rows[targets_[i].row].best != ask.token) likelihood.greedy = false;
  }
  work_.rows += rows;
  asks_done_ += targets_.size();
  asks_waiting_ = 0;
  targets_.clear();
}

}  // namespace spd
