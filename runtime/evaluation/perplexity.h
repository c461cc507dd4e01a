// Perplexity of a text, and how far a plan's predictions are from a baseline's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/inference/engine.h"

namespace spd {

struct WindowOptions {
  std::int64_t window = 512;  ///< tokens of a window
  std::int64_t stride = 512;  ///< from one window's begin to the next one's
  std::int64_t limit = 0;     ///< windows at most; 0: all
};

/// Sums over scored tokens; merge by adding up.
struct TextScore {
  std::int64_t windows = 0;
  std::int64_t tokens = 0;  ///< scored: every token of a window but its first
  double nll_sum = 0.0;     ///< nats
  double nll() const { return tokens > 0 ? nll_sum / static_cast<double>(tokens) : 0.0; }
};

/// A plan against a baseline on the same tokens.
struct Divergence {
  std::int64_t tokens = 0;
  double kl_sum = 0.0;            ///< KL(baseline || plan), nats
  double largest_log_prob = 0.0;  ///< max over tokens and vocabulary of |log p - log q|
  std::int64_t same_top1 = 0;     ///< tokens at which both find the same token likeliest
};

struct TextEvaluation {
  TextScore plan;
  std::optional<TextScore> baseline;
  std::optional<Divergence> divergence;
  std::vector<double> window_nll;  ///< of the plan, a window each
};

/// Scores `tokens` window by window, each on its own (nothing is carried over); the last window may
/// be shorter, down to two tokens. With `baseline` levels, the same windows are run with those too.
/// All ranks call it alike and get the same result. `progress(windows done, of, score so far)` ends
/// it there where it returns false, on all ranks alike.
TextEvaluation evaluate_text(
    Engine& engine, const std::vector<std::int32_t>& tokens, const WindowOptions& options,
    const SyncLevels& levels, const std::optional<SyncLevels>& baseline,
    const std::function<bool(std::int64_t, std::int64_t, const TextScore&)>& progress = {});

/// Levels to compare the engine's plan with: of "full" (every sync full), of a plan file, of "none"
/// nothing; of "auto" those of "full" where the plan skips a sync. Throws input Error for a file
/// that does not fit.
std::optional<SyncLevels> choose_baseline(const Engine& engine, const std::string& baseline);

}  // namespace spd
