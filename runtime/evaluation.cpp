#include "runtime/evaluation.h"

#include <algorithm>
#include <cmath>

#include "kernels/device/error.h"
#include "kernels/distribution.h"

namespace spd {
namespace {

constexpr CallSite kSite{"evaluation"};
constexpr std::int64_t kLogitRows = 64;  // rows of logits held at a time: a vocabulary wide each

// What a rank knows of one row of logits, to be put together over the vocabulary's shards.
struct RowShare {
  LogSumExp total;
  float target = 0.0f;  // logit of the token to be predicted, on the rank that holds it
  std::int32_t holds_target = 0;
  Candidate best;  // in vocabulary ids
};

// The same row over the whole vocabulary.
struct Row {
  double log_sum_exp = 0.0;
  double target = 0.0;
  std::int32_t best = 0;
};

class TextEvaluator {
 public:
  TextEvaluator(Engine& engine, const WindowOptions& options)
      : engine_(engine),
        transformer_(engine.transformer()),
        stream_(engine.stream()),
        range_(transformer_.vocab_range()),
        cache_(engine.make_cache(1, options.window)) {
    Device& device = engine.operators().device();
    for (auto& run : runs_) {
      run.hidden = Buffer(device, options.window * engine.config().hidden * sizeof(float));
      run.logits = Buffer(device, kLogitRows * range_.count * sizeof(float));
    }
  }

  // Runs the window and keeps its final residual stream in run `which`.
  void forward(int which, std::span<const std::int32_t> window, const SyncLevels& levels) {
    const auto length = static_cast<std::int64_t>(window.size());
    const std::int64_t chunk = transformer_.options().max_tokens;
    for (std::int64_t first = 0; first < length; first += chunk) {
      const std::int64_t count = std::min(chunk, length - first);
      const Segment segment{0, count, 0, first};
      const auto hidden = transformer_.forward(window.subspan(first, count), {&segment, 1}, levels,
                                               cache_, stream_);
      engine_.operators().copy(hidden, hidden_rows(which, first, count), stream_);
    }
  }

  // Scores tokens [1, length) of the window with run 0, and compares with run 1 if `divergence`.
  void score(std::span<const std::int32_t> window, TextScore& plan, TextScore* baseline,
             Divergence* divergence) {
    const auto scored = static_cast<std::int64_t>(window.size()) - 1;
    for (std::int64_t first = 0; first < scored; first += kLogitRows) {
      const std::int64_t count = std::min(kLogitRows, scored - first);
      const auto targets = window.subspan(first + 1, count);
      const auto rows = score_rows(0, first, targets, plan);
      if (baseline) compare(rows, score_rows(1, first, targets, *baseline), *divergence);
    }
  }

 private:
  struct Run {
    Buffer hidden;               // [window, hidden]
    Buffer logits;               // [kLogitRows, local vocabulary]
    std::vector<float> on_host;  // the same, for comparisons
  };

  Activations hidden_rows(int which, std::int64_t first, std::int64_t count) {
    const std::int64_t hidden = engine_.config().hidden;
    return Activations(runs_[which].hidden.as<float>(), first + count, hidden)
        .row_range(first, count);
  }

  std::vector<Row> score_rows(int which, std::int64_t first, std::span<const std::int32_t> targets,
                              TextScore& score) {
    const auto count = static_cast<std::int64_t>(targets.size());
    Run& run = runs_[which];
    const Activations logits{run.logits.as<float>(), count, range_.count};
    transformer_.logits(hidden_rows(which, first, count), logits, stream_);
    Operators& operators = engine_.operators();
    const auto totals = operators.log_sum_exp(logits, stream_);
    const auto best = operators.top_k(logits, 1, stream_);
    run.on_host.resize(count * range_.count);
    operators.device().download(run.on_host.data(), logits.data, run.on_host.size() * sizeof(float),
                                stream_);
    stream_.synchronize();
    std::vector<RowShare> shares(count);
    for (std::int64_t i = 0; i < count; ++i) {
      shares[i].total = totals[i];
      shares[i].best = {best[i].index + static_cast<std::int32_t>(range_.first), best[i].logit};
      const std::int64_t local = targets[i] - range_.first;
      if (local < 0 || local >= range_.count) continue;
      shares[i].holds_target = 1;
      shares[i].target = run.on_host[i * range_.count + local];
    }
    auto rows = combine(shares);
    for (const Row& row : rows) score.nll_sum += row.log_sum_exp - row.target;
    score.tokens += count;
    return rows;
  }

  std::vector<Row> combine(const std::vector<RowShare>& shares) {
    const int ranks = transformer_.comms().ranks();
    std::vector<RowShare> all(shares.size() * ranks);
    transformer_.comms().world->all_gather(shares.data(), all.data(),
                                           shares.size() * sizeof(RowShare), stream_, kSite);
    std::vector<Row> rows;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      Candidate best = all[i].best;
      for (int rank = 1; rank < ranks; ++rank) {
        const Candidate& other = all[rank * shares.size() + i].best;
        if (other.logit > best.logit) best = other;
      }
      Row row;
      double sum = 0.0;
      for (int rank = 0; rank < ranks; ++rank) {
        const RowShare& share = all[rank * shares.size() + i];
        sum += share.total.sum * std::exp(static_cast<double>(share.total.max) - best.logit);
        if (share.holds_target) row.target = share.target;
      }
      row.log_sum_exp = best.logit + std::log(sum);
      row.best = best.index;
      rows.push_back(row);
    }
    return rows;
  }

  void compare(const std::vector<Row>& plan, const std::vector<Row>& baseline,
               Divergence& divergence) {
    struct Share {
      double kl = 0.0;
      double largest = 0.0;
    } share;
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const std::size_t offset = i * range_.count;
      const RowDivergence row =
          compare_rows(runs_[1].on_host.data() + offset, baseline[i].log_sum_exp,
                       runs_[0].on_host.data() + offset, plan[i].log_sum_exp, range_.count);
      share.kl += row.kl;
      share.largest = std::max<double>(share.largest, row.largest);
      if (plan[i].best == baseline[i].best) ++divergence.same_top1;
    }
    std::vector<Share> all(transformer_.comms().ranks());
    transformer_.comms().world->all_gather(&share, all.data(), sizeof(Share), stream_, kSite);
    for (const Share& other : all) {
      divergence.kl_sum += other.kl;
      divergence.largest_log_prob = std::max(divergence.largest_log_prob, other.largest);
    }
    divergence.tokens += static_cast<std::int64_t>(plan.size());
  }

  Engine& engine_;
  Transformer& transformer_;
  Stream& stream_;
  VocabRange range_;
  KvCache cache_;
  Run runs_[2];  // the plan's, the baseline's
};

}  // namespace

TextEvaluation evaluate_text(
    Engine& engine, const std::vector<std::int32_t>& tokens, const WindowOptions& options,
    const SyncLevels& levels, const std::optional<SyncLevels>& baseline,
    const std::function<void(std::int64_t, std::int64_t, const TextScore&)>& progress) {
  std::vector<std::int64_t> begins;
  const auto total = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t begin = 0; begin + 1 < total; begin += options.stride) {
    if (options.limit > 0 && static_cast<std::int64_t>(begins.size()) == options.limit) break;
    begins.push_back(begin);
  }
  if (begins.empty()) {
    throw Error(ErrorCode::input, "the text has fewer than two tokens", "give a longer text");
  }
  TextEvaluator evaluator(engine, options);
  TextEvaluation evaluation;
  if (baseline) {
    evaluation.baseline.emplace();
    evaluation.divergence.emplace();
  }
  for (const std::int64_t begin : begins) {
    const std::int64_t length = std::min(options.window, total - begin);
    const std::span<const std::int32_t> window(tokens.data() + begin, length);
    evaluator.forward(0, window, levels);
    if (baseline) evaluator.forward(1, window, *baseline);
    TextScore plan;
    evaluator.score(window, plan, baseline ? &*evaluation.baseline : nullptr,
                    baseline ? &*evaluation.divergence : nullptr);
    evaluation.window_nll.push_back(plan.nll());
    evaluation.plan.nll_sum += plan.nll_sum;
    evaluation.plan.tokens += plan.tokens;
    ++evaluation.plan.windows;
    if (progress) {
      progress(evaluation.plan.windows, static_cast<std::int64_t>(begins.size()), evaluation.plan);
    }
  }
  if (baseline) evaluation.baseline->windows = evaluation.plan.windows;
  return evaluation;
}

}  // namespace spd
