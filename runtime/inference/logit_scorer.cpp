#include "runtime/inference/logit_scorer.h"

#include <cmath>

namespace spd {
namespace {

constexpr CallSite kSite{"evaluation"};

// What a rank knows of one row, to be put together over the vocabulary's shards.
struct RowShare {
  LogSumExp total;
  Candidate best;  // in vocabulary ids
};

}  // namespace

LogitScorer::LogitScorer(Engine& engine, std::int64_t max_rows)
    : engine_(engine),
      transformer_(engine.transformer()),
      stream_(engine.stream()),
      max_rows_(max_rows),
      buffer_(engine.operators().device(),
              max_rows * transformer_.vocab_range().count * sizeof(float)) {}

LogitScores LogitScorer::score(ConstActivations hidden, std::span<const RowTarget> targets) {
  logits_ = {buffer_.as<float>(), hidden.rows, transformer_.vocab_range().count};
  transformer_.logits(hidden, logits_, stream_);
  LogitScores scores;
  scores.rows = combine_rows();
  const auto logits = target_logits(targets);
  scores.log_probs.reserve(targets.size());
  for (std::size_t i = 0; i < targets.size(); ++i) {
    scores.log_probs.push_back(logits[i] - scores.rows.at(targets[i].row).log_sum_exp);
  }
  return scores;
}

void LogitScorer::download(std::vector<float>& to) {
  to.resize(logits_.rows * logits_.cols);
  engine_.operators().device().download(to.data(), logits_.data, to.size() * sizeof(float),
                                        stream_);
  stream_.synchronize();
}

std::vector<ScoredRow> LogitScorer::combine_rows() {
  const auto first_id = static_cast<std::int32_t>(transformer_.vocab_range().first);
  const auto totals = engine_.operators().log_sum_exp(logits_, stream_);
  const auto best = engine_.operators().top_k(logits_, 1, stream_);
  std::vector<RowShare> shares;
  for (std::size_t i = 0; i < totals.size(); ++i) {
    shares.push_back({totals[i], {best[i].index + first_id, best[i].logit}});
  }
  const int ranks = transformer_.comms().ranks();
  std::vector<RowShare> all(shares.size() * ranks);
  transformer_.comms().world->all_gather(shares.data(), all.data(),
                                         shares.size() * sizeof(RowShare), stream_, kSite);
  std::vector<ScoredRow> rows;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    Candidate likeliest = all[i].best;
    for (int rank = 1; rank < ranks; ++rank) {
      const Candidate& other = all[rank * shares.size() + i].best;
      if (other.logit > likeliest.logit) likeliest = other;
    }
    double sum = 0.0;
    for (int rank = 0; rank < ranks; ++rank) {
      const LogSumExp& total = all[rank * shares.size() + i].total;
      sum += total.sum * std::exp(static_cast<double>(total.max) - likeliest.logit);
    }
    rows.push_back({likeliest.logit + std::log(sum), likeliest.index});
  }
  return rows;
}

// The logits of the targets, each from the rank that holds its token.
std::vector<float> LogitScorer::target_logits(std::span<const RowTarget> targets) {
  const std::size_t count = targets.size();
  if (count == 0) return {};
  const VocabRange mine = transformer_.vocab_range();
  std::vector<float> logits(count, 0.0f);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t local = targets[i].token - mine.first;
    if (local < 0 || local >= mine.count) continue;
    engine_.operators().device().download(&logits[i], logits_.row(targets[i].row) + local,
                                          sizeof(float), stream_);
  }
  stream_.synchronize();
  const auto& ranges = engine_.plan().partition.vocab;
  std::vector<float> all(count * ranges.size());
  transformer_.comms().world->all_gather(logits.data(), all.data(), count * sizeof(float), stream_,
                                         kSite);
  for (std::size_t rank = 0; rank < ranges.size(); ++rank) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t local = targets[i].token - ranges[rank].first;
      if (local >= 0 && local < ranges[rank].count) logits[i] = all[rank * count + i];
    }
  }
  return logits;
}

}  // namespace spd
