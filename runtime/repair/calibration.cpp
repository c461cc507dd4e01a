#include "runtime/repair/calibration.h"

#include <fmt/format.h>

#include "kernels/device/error.h"

namespace spd {

Calibration::Calibration(Engine& engine, const std::vector<std::int32_t>& tokens,
                         const CalibrationOptions& options)
    : engine_(engine),
      options_(options),
      cache_(engine.make_cache(1, options.window)),
      segment_{0, options.window, 0, 0} {
  const std::int64_t windows = options.windows + options.held_out;
  const auto needed = windows * options.window;
  if (static_cast<std::int64_t>(tokens.size()) < needed) {
    throw Error(ErrorCode::input,
                fmt::format("the calibration text has {} tokens; {} windows of {} need {}",
                            tokens.size(), windows, options.window, needed),
                "give a longer text, or fewer or shorter windows");
  }
  Transformer& transformer = engine_.transformer();
  for (std::int64_t i = 0; i < windows; ++i) {
    const std::span<const std::int32_t> window(tokens.data() + i * options.window, options.window);
    transformer.begin(window, {&segment_, 1}, engine_.stream());
    states_.push_back(transformer.save(engine_.stream()));
  }
}

void Calibration::visit(std::int64_t first, std::int64_t last, const std::function<void()>& step) {
  for (std::int64_t i = first; i < last; ++i) {
    if (safe_point_) safe_point_();
    engine_.transformer().begin(states_[i], {&segment_, 1}, engine_.stream());
    step();
  }
}

void Calibration::advance(const SyncLevels& levels) {
  Transformer& transformer = engine_.transformer();
  for (ResidualState& state : states_) {
    if (safe_point_) safe_point_();
    transformer.begin(state, {&segment_, 1}, engine_.stream());
    transformer.run(block_, block_ + 1, levels, cache_, engine_.stream());
    state = transformer.save(engine_.stream());
  }
  ++block_;
}

}  // namespace spd
