// Training of consecutive blocks on windows of calibration text: minibatches, schedule, early stop.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/training/trainee.h"

namespace spd {

enum class RateSchedule { constant, cosine };

struct TrainingOptions {
  std::int64_t epochs = 2;
  std::int64_t batch = 1;  ///< windows of a minibatch
  float rate = 2e-4f;
  RateSchedule schedule = RateSchedule::cosine;
  double warm_up = 0.05;  ///< share of the steps over which the rate rises to `rate`
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float decay = 0.0f;
  double clip = 0.0;          ///< largest length of the gradient over all ranks; 0: no limit
  std::int64_t patience = 2;  ///< epochs without progress on held-out windows before giving up
  std::uint64_t seed = 1;     ///< of the order of the windows
  /// Windows that an interrupted run has trained on: the order goes on behind them, and the rate
  /// where it was, after a new warm-up, since Adam's moments are not kept.
  std::int64_t done = 0;
};

struct TrainingProgress {
  /// Windows trained, of, and the latest loss.
  std::function<void(std::int64_t, std::int64_t, double)> window = {};
  /// A step has been taken, behind so many windows: the time to keep the parameters, if ever.
  std::function<void(std::int64_t)> step = {};
};

/// The windows to train on and to judge by. All ranks hold the same.
struct WindowSet {
  std::int64_t window = 0;    ///< tokens of each
  std::int64_t windows = 0;   ///< to train on: the first
  std::int64_t held_out = 0;  ///< the ones behind them
  std::int64_t all() const { return windows + held_out; }
};

/// What a result is worth.
class Objective {
 public:
  virtual ~Objective() = default;
  /// Mean loss over the window's tokens of a trainee's result on window `index`, [window, hidden],
  /// the same on every rank; with `dout`, its gradient by the result, the same on every rank too.
  virtual double loss(ConstActivations out, std::int64_t index, Activations* dout,
                      Stream& stream) = 0;
};

struct TrainingResult {
  double before = 0.0;          ///< mean held-out loss
  double after = 0.0;           ///< of what was kept: the best epoch's
  std::int64_t best_epoch = 0;  ///< 0: what was there before was kept
  std::int64_t epochs = 0;      ///< run
  std::int64_t steps = 0;
  std::vector<double> training_loss;  ///< by epoch, as it went
  std::vector<double> held_out_loss;  ///< behind each epoch
};

/// Rate of step `step` (from 1) of `steps`.
float rate_at(const TrainingOptions& options, std::int64_t step, std::int64_t steps);

/// The order in which an epoch takes the windows: the same everywhere for a seed.
std::vector<std::int64_t> shuffled(std::int64_t count, std::uint64_t seed, std::int64_t epoch);

/// Trains in place; the parameters of the best epoch by held-out loss stay. `inputs`: [windows *
/// tokens, hidden], all windows' residual streams. All ranks call it alike. Throws input Error
/// where the loss is not finite.
TrainingResult train(Trainee& trainee, Activations inputs, const WindowSet& set,
                     Objective& objective, const TrainingOptions& options, Operators& operators,
                     Stream& stream, const TrainingProgress& progress);

}  // namespace spd
