// Calibration text on its way through the model, block by block: what every window's residual
// stream is before the block at hand, in the model as planned and repaired so far.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "model/residual_stream.h"
#include "runtime/inference/engine.h"

namespace spd {

struct CalibrationOptions {
  std::int64_t window = 512;  ///< tokens of a window
  std::int64_t windows = 24;  ///< to fit on
  std::int64_t held_out = 4;  ///< windows behind those, to choose by
};

class Calibration {
 public:
  /// Begins before block 0. Windows are consecutive pieces of `tokens`. Throws input Error where
  /// the text is too short, usage Error where a window is longer than a prefill step.
  Calibration(Engine& engine, const std::vector<std::int32_t>& tokens,
              const CalibrationOptions& options);

  /// The block that the states are in front of.
  std::int64_t block() const { return block_; }
  const CalibrationOptions& options() const { return options_; }

  /// Puts each window in front of the block and calls `step`, which runs (part of) it.
  void for_fit(const std::function<void()>& step) { visit(0, options_.windows, step); }
  /// The same with the first `count` windows and their numbers.
  void for_fit(std::int64_t count, const std::function<void(std::int64_t)>& step) {
    std::int64_t window = 0;
    visit(0, std::min(count, options_.windows), [&] { step(window++); });
  }
  void for_held_out(const std::function<void()>& step) {
    visit(options_.windows, options_.windows + options_.held_out, step);
  }
  /// To be called between windows from now on; may throw.
  void set_safe_point(std::function<void()> safe_point) { safe_point_ = std::move(safe_point); }
  KvCache& cache() { return cache_; }
  /// To be called when the heads were split over the ranks in another way.
  void renew_cache() { cache_ = engine_.make_cache(1, options_.window); }

  /// Takes all windows through the block at the levels given and keeps what comes out.
  void advance(const SyncLevels& levels);

 private:
  void visit(std::int64_t first, std::int64_t last, const std::function<void()>& step);

  std::function<void()> safe_point_;
  Engine& engine_;
  CalibrationOptions options_;
  KvCache cache_;
  Segment segment_;
  std::vector<ResidualState> states_;
  std::int64_t block_ = 0;
};

}  // namespace spd
