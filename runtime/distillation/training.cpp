#include "runtime/distillation/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <random>

#include "runtime/job/agreed_error.h"

namespace spd {
namespace {

class Training {
 public:
  Training(Trainee& trainee, Activations inputs, const WindowSet& set, Objective& objective,
           const TrainingOptions& options, Operators& operators, Stream& stream)
      : trainee_(trainee),
        inputs_(inputs),
        set_(set),
        objective_(objective),
        options_(options),
        stream_(stream),
        dout_(operators.device(), set.window * inputs.cols * sizeof(float)),
        steps_((set.windows + options.batch - 1) / options.batch * options.epochs) {}

  // Windows and steps count from the beginning of the run that was interrupted, if there was one.

  TrainingResult run(const TrainingProgress& progress) {
    TrainingResult result;
    result.before = result.after = held_out();
    std::vector<BlockRepair> best = parameters();
    for (std::int64_t epoch = 1; epoch <= options_.epochs; ++epoch) {
      double sum = 0.0;
      std::int64_t trained = 0;
      const auto order = shuffled(set_.windows, options_.seed, epoch);
      for (std::int64_t i = 0; i < set_.windows; ++i) {
        const bool last = (i + 1) % options_.batch == 0 || i + 1 == set_.windows;
        const std::int64_t windows = (epoch - 1) * set_.windows + i + 1;
        if (windows <= options_.done) {
          if (last) first_step_ = ++step_;
          continue;
        }
        const double loss = learn(order[i]);
        sum += loss;
        ++trained;
        if (last) step();
        if (progress.window) progress.window(windows, options_.epochs * set_.windows, loss);
        if (last && progress.step) progress.step(windows);
      }
      if (trained == 0) continue;
      result.epochs = epoch;
      result.training_loss.push_back(sum / static_cast<double>(trained));
      result.held_out_loss.push_back(held_out());
      if (result.held_out_loss.back() < result.after) {
        result.after = result.held_out_loss.back();
        result.best_epoch = epoch;
        best = parameters();
      } else if (epoch - result.best_epoch >= options_.patience) {
        break;
      }
    }
    result.steps = step_;
    if (result.best_epoch != result.epochs) restore(best);
    return result;
  }

 private:
  ConstActivations forward(std::int64_t index) {
    const Segment segment{0, set_.window, 0, 0};
    return trainee_.forward(inputs_.row_range(index * set_.window, set_.window), {&segment, 1},
                            stream_);
  }

  double held_out() {
    double sum = 0.0;
    for (std::int64_t i = 0; i < set_.held_out; ++i) {
      const std::int64_t index = set_.windows + i;
      sum += checked(objective_.loss(forward(index), index, nullptr, stream_));
    }
    return sum / static_cast<double>(set_.held_out);
  }

  double learn(std::int64_t index) {
    const ConstActivations out = forward(index);
    Activations dout{dout_.as<float>(), out.rows, out.cols};
    const double loss = checked(objective_.loss(out, index, &dout, stream_));
    trainee_.backward(dout, stream_);
    ++pending_;
    return loss;
  }

  void step() {
    ++step_;
    float scale = 1.0f / static_cast<float>(pending_);
    pending_ = 0;
    if (options_.clip > 0.0) {
      const double length = std::sqrt(trainee_.squared_gradient(stream_)) * scale;
      if (length > options_.clip) scale *= static_cast<float>(options_.clip / length);
    }
    AdamArgs adam;
    const std::int64_t own = step_ - first_step_;  // that Adam's moments are made of
    adam.rate = std::min(rate_at(options_, step_, steps_), rate_at(options_, own, steps_));
    adam.beta1 = options_.beta1;
    adam.beta2 = options_.beta2;
    adam.decay = options_.decay;
    adam.gradient_scale = scale;
    adam.step = own;
    trainee_.step(adam, stream_);
  }

  static double checked(double loss) {
    if (std::isfinite(loss)) return loss;
    throw AgreedError(ErrorCode::input, "training: the loss is not finite",
                      "check the model's weights for values that are not, or lower the rate");
  }

  std::vector<BlockRepair> parameters() {
    std::vector<BlockRepair> all;
    for (std::int64_t block = trainee_.first(); block < trainee_.last(); ++block) {
      all.push_back(trainee_.block(block).repaired(stream_));
    }
    return all;
  }

  void restore(const std::vector<BlockRepair>& parameters) {
    for (std::int64_t block = trainee_.first(); block < trainee_.last(); ++block) {
      trainee_.block(block).restore(parameters[block - trainee_.first()], stream_);
    }
  }

  Trainee& trainee_;
  Activations inputs_;
  WindowSet set_;
  Objective& objective_;
  const TrainingOptions& options_;
  Stream& stream_;
  Buffer dout_;
  std::int64_t steps_;
  std::int64_t step_ = 0;
  std::int64_t first_step_ = 0;  // taken by the run that was interrupted
  std::int64_t pending_ = 0;     // windows whose gradients wait for a step
};

}  // namespace

float rate_at(const TrainingOptions& options, std::int64_t step, std::int64_t steps) {
  const double warm = std::max(1.0, options.warm_up * static_cast<double>(steps));
  const auto at = static_cast<double>(step);
  if (at < warm) return static_cast<float>(options.rate * at / warm);
  if (options.schedule == RateSchedule::constant || steps <= 1) return options.rate;
  const double done = (at - warm) / std::max(1.0, static_cast<double>(steps) - warm);
  return static_cast<float>(options.rate * 0.5 * (1.0 + std::cos(std::numbers::pi * done)));
}

std::vector<std::int64_t> shuffled(std::int64_t count, std::uint64_t seed, std::int64_t epoch) {
  // The library's shuffle and distributions may differ between implementations: this may not.
  std::mt19937_64 engine(seed * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(epoch));
  std::vector<std::int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t i = count - 1; i > 0; --i) {
    std::swap(order[i], order[engine() % static_cast<std::uint64_t>(i + 1)]);
  }
  return order;
}

TrainingResult train(Trainee& trainee, Activations inputs, const WindowSet& set,
                     Objective& objective, const TrainingOptions& options, Operators& operators,
                     Stream& stream, const TrainingProgress& progress) {
  return Training(trainee, inputs, set, objective, options, operators, stream).run(progress);
}

}  // namespace spd
