#include "runtime/evaluation/perplexity.h"

#include <algorithm>

#include "kernels/device/error.h"
#include "kernels/row_divergence.h"
#include "runtime/inference/logit_scorer.h"

namespace spd {
namespace {

constexpr CallSite kSite{"evaluation"};
constexpr std::int64_t kLogitRows = 64;  // rows of logits held at a time: a vocabulary wide each

class TextEvaluator {
 public:
  TextEvaluator(Engine& engine, const WindowOptions& options)
      : engine_(engine),
        transformer_(engine.transformer()),
        stream_(engine.stream()),
        cache_(engine.make_cache(1, options.window)),
        scorer_(engine, kLogitRows) {
    Device& device = engine.operators().device();
    for (auto& run : runs_) {
      run.hidden = Buffer(device, options.window * engine.config().hidden * sizeof(float));
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
      if (!baseline) continue;
      scorer_.download(runs_[0].logits);
      const auto baseline_rows = score_rows(1, first, targets, *baseline);
      scorer_.download(runs_[1].logits);
      compare(rows, baseline_rows, *divergence);
    }
  }

 private:
  struct Run {
    Buffer hidden;              // [window, hidden]
    std::vector<float> logits;  // [kLogitRows, local vocabulary], on the host, for comparisons
  };

  Activations hidden_rows(int which, std::int64_t first, std::int64_t count) {
    const std::int64_t hidden = engine_.config().hidden;
    return Activations(runs_[which].hidden.as<float>(), first + count, hidden)
        .row_range(first, count);
  }

  std::vector<ScoredRow> score_rows(int which, std::int64_t first,
                                    std::span<const std::int32_t> tokens, TextScore& score) {
    std::vector<RowTarget> targets;
    for (const std::int32_t token : tokens) {
      targets.push_back({static_cast<std::int64_t>(targets.size()), token});
    }
    const auto count = static_cast<std::int64_t>(targets.size());
    auto scores = scorer_.score(hidden_rows(which, first, count), targets);
    for (const double log_prob : scores.log_probs) score.nll_sum -= log_prob;
    score.tokens += count;
    return std::move(scores.rows);
  }

  void compare(const std::vector<ScoredRow>& plan, const std::vector<ScoredRow>& baseline,
               Divergence& divergence) {
    struct Share {
      double kl = 0.0;
      double largest = 0.0;
    } share;
    const std::int64_t width = transformer_.vocab_range().count;
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const std::size_t offset = i * width;
      const RowDivergence row =
          compare_rows(runs_[1].logits.data() + offset, baseline[i].log_sum_exp,
                       runs_[0].logits.data() + offset, plan[i].log_sum_exp, width);
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
  KvCache cache_;
  LogitScorer scorer_;
  Run runs_[2];  // the plan's, the baseline's
};

}  // namespace

TextEvaluation evaluate_text(
    Engine& engine, const std::vector<std::int32_t>& tokens, const WindowOptions& options,
    const SyncLevels& levels, const std::optional<SyncLevels>& baseline,
    const std::function<bool(std::int64_t, std::int64_t, const TextScore&)>& progress) {
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
    if (progress && !progress(evaluation.plan.windows, static_cast<std::int64_t>(begins.size()),
                              evaluation.plan)) {
      break;
    }
  }
  if (baseline) evaluation.baseline->windows = evaluation.plan.windows;
  return evaluation;
}

std::optional<SyncLevels> choose_baseline(const Engine& engine, const std::string& baseline) {
  const SyncLevels full = SyncLevels::all_full(engine.config().blocks);
  if (baseline == "none") return std::nullopt;
  if (baseline == "full") return full;
  if (baseline != "auto") return engine.load_plan(baseline).levels;
  if (engine.plan().levels == full) return std::nullopt;
  return full;
}

}  // namespace spd
