#include "runtime/distillation/distillation.h"

#include <fmt/format.h>

#include <chrono>

#include "runtime/distillation/logits_objective.h"
#include "runtime/job/agreed_error.h"

namespace spd {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// All windows' residual streams at one place in a model, the same on every rank.
class Streams {
 public:
  Streams(Engine& engine, const WindowSet& set)
      : operators_(engine.operators()),
        set_(set),
        hidden_(engine.config().hidden),
        values_(operators_.device(), set.all() * set.window * hidden_ * sizeof(float)) {}

  Activations all() const { return {values_.as<float>(), set_.all() * set_.window, hidden_}; }
  Activations window(std::int64_t index) const {
    return all().row_range(index * set_.window, set_.window);
  }
  void take(const Streams& other, Stream& stream) { operators_.copy(other.all(), all(), stream); }

 private:
  Operators& operators_;
  WindowSet set_;
  std::int64_t hidden_;
  Buffer values_;
};

/// A model taken through blocks, window by window.
class Walker {
 public:
  Walker(Engine& engine, Transformer& transformer, const WindowSet& set,
         const std::function<void()>& safe_point)
      : engine_(engine),
        safe_point_(safe_point),
        transformer_(transformer),
        set_(set),
        segment_{0, set.window, 0, 0},
        cache_(engine.make_cache(1, set.window)) {}

  void embed(const std::vector<std::int32_t>& tokens, const Streams& to) {
    Stream& stream = engine_.stream();
    const SyncLevels full = SyncLevels::all_full(engine_.config().blocks);
    for (std::int64_t i = 0; i < set_.all(); ++i) {
      transformer_.begin(std::span(tokens).subspan(i * set_.window, set_.window), {&segment_, 1},
                         stream);
      engine_.operators().copy(transformer_.run(0, 0, full, cache_, stream), to.window(i), stream);
    }
  }

  /// `to` may be `from`. Windows that are not `wanted` stay as they are.
  void run(std::int64_t first, std::int64_t last, const SyncLevels& levels, const Streams& from,
           const Streams& to, const std::function<bool(std::int64_t)>& wanted = {}) {
    Stream& stream = engine_.stream();
    Device& device = engine_.operators().device();
    ResidualState state;
    state.tokens = set_.window;
    state.base.resize(set_.window * engine_.config().hidden);
    for (std::int64_t i = 0; i < set_.all(); ++i) {
      if (wanted && !wanted(i)) continue;
      if (safe_point_) safe_point_();
      device.download(state.base.data(), from.window(i).data, state.base.size() * sizeof(float),
                      stream);
      stream.synchronize();
      transformer_.begin(state, {&segment_, 1}, stream);
      engine_.operators().copy(transformer_.run(first, last, levels, cache_, stream), to.window(i),
                               stream);
    }
  }

 private:
  Engine& engine_;
  const std::function<void()>& safe_point_;
  Transformer& transformer_;
  WindowSet set_;
  Segment segment_;
  KvCache cache_;
};

/// Mean over tokens of |out - target|^2 or, where asked for, of log(1 + |out - target|^2 /
/// |target|^2): relative to the token's own size, as the next norm sees it, and with no token able
/// to drown the others. A missed massive activation (those of a sequence's first token) would:
/// where the teacher takes it back and the student cannot, the relative error is in the thousands.
class StreamObjective final : public Objective {
 public:
  StreamObjective(Engine& engine, Gradients& gradients, const Streams& targets,
                  const WindowSet& set, bool relative)
      : gradients_(gradients), targets_(targets), set_(set), relative_(relative) {
    Operators& operators = engine.operators();
    const std::int64_t hidden = engine.config().hidden;
    scratch_ = Buffer(operators.device(), set.window * hidden * sizeof(float));
    weights_ = Buffer(operators.device(), set.all() * set.window * sizeof(float));
    std::vector<float> values(hidden), weights(set.all() * set.window, 1.0f);
    Stream& stream = engine.stream();
    for (std::int64_t t = 0; relative && t < set.all() * set.window; ++t) {
      operators.device().download(values.data(), targets.all().row(t), hidden * sizeof(float),
                                  stream);
      stream.synchronize();
      double squares = 1e-12;
      for (const float value : values) squares += static_cast<double>(value) * value;
      weights[t] = static_cast<float>(1.0 / squares);
    }
    operators.device().upload(weights_.data(), weights.data(), weights_.bytes(), stream);
    stream.synchronize();
  }

  double loss(ConstActivations out, std::int64_t index, Activations* dout,
              Stream& stream) override {
    const Activations scratch{scratch_.as<float>(), out.rows, out.cols};
    const auto tokens = static_cast<float>(out.rows);
    return gradients_.difference({.a = out,
                                  .b = targets_.window(index),
                                  .weight = weights_.as<float>() + index * set_.window,
                                  .damped = relative_,
                                  .scale = 2.0f / tokens,
                                  .diff = dout ? *dout : scratch},
                                 stream) /
           static_cast<double>(out.rows);
  }

 private:
  Gradients& gradients_;
  const Streams& targets_;
  WindowSet set_;
  bool relative_;
  Buffer scratch_, weights_;
};

/// The blocks that can only be trained together: up to the next full mlp sync.
std::int64_t end_of_group(const SyncLevels& levels, std::int64_t first) {
  std::int64_t last = first + 1;
  while (levels.at(last - 1, SyncPoint::mlp) != SyncLevel::full) ++last;
  return last;
}

class Distiller {
 public:
  Distiller(Engine& engine, const std::vector<std::int32_t>& tokens, const DistillOptions& options,
            RankRepair& repair, const DistillProgress& progress)
      : engine_(engine),
        options_(options),
        repair_(repair),
        progress_(progress),
        levels_(engine.plan().levels),
        full_(SyncLevels::all_full(engine.config().blocks)),
        gradients_(make_cpu_gradients(
            {.threads = engine.operators().parallelism(),
             .products = engine.options().exact ? MatmulMode::f32 : options.products})),
        teacher_(engine.make_unrepaired()),
        teacher_walker_(engine, *teacher_, options.set, progress.safe_point),
        student_walker_(engine, engine.transformer(), options.set, progress.safe_point),
        teacher_stream_(engine, options.set),
        target_(engine, options.set),
        student_stream_(engine, options.set) {
    const std::int64_t needed = options.set.all() * options.set.window;
    if (static_cast<std::int64_t>(tokens.size()) < needed) {
      throw AgreedError(
          ErrorCode::input,
          fmt::format("the calibration text has {} tokens, {} are needed", tokens.size(), needed),
          "give a longer text, or ask for fewer tokens");
    }
    student_walker_.embed(tokens, student_stream_);
  }

  std::vector<DistilledBlocks> run_blocks(const std::set<std::int64_t>& which) {
    std::vector<DistilledBlocks> results;
    const std::int64_t blocks = engine_.config().blocks;
    const std::int64_t each = options_.training.epochs * options_.set.windows;
    teacher_stream_.take(student_stream_, engine_.stream());
    for (std::int64_t first = 0; first < blocks;) {
      const std::int64_t last = end_of_group(levels_, first);
      teacher_walker_.run(first, last, full_, teacher_stream_, target_);
      bool chosen = false;
      for (std::int64_t block = first; block < last; ++block) chosen |= which.contains(block);
      if (chosen && levels_.leaves_out(first, last)) {
        results.push_back(train_blocks(first, last, blocks * each, first * each));
      } else {
        student_walker_.run(first, last, levels_, student_stream_, student_stream_);
      }
      teacher_stream_.take(target_, engine_.stream());
      first = last;
    }
    return results;
  }

  DistilledBlocks run_logits() {
    const std::int64_t blocks = engine_.config().blocks;
    const std::set<std::int64_t> ahead = windows_ahead();
    const std::int64_t total = options_.training.epochs * options_.set.windows;
    std::size_t begun = 0;
    // Both start from the same embeddings; a stream more would be a third of the memory.
    teacher_walker_.run(0, blocks, full_, student_stream_, target_, [&](std::int64_t window) {
      if (!ahead.contains(window)) return false;
      keep_if_due(options_.training.done);  // nothing new, but minutes may pass: it may be to stop
      if (progress_.step) {
        progress_.step(options_.training.done, total,
                       fmt::format("the model itself, window {} of {}", ++begun, ahead.size()));
      }
      return true;
    });
    LogitsObjective objective(engine_, *teacher_, *gradients_, target_.all(), options_.set.window);
    return train_on(0, blocks, student_stream_, objective, total, 0, true);
  }

 private:
  /// Writes down what `windows` windows have made, which `take` collects, when it is time to.
  void keep_if_due(std::int64_t windows, const std::function<void()>& take = {}) {
    if (!progress_.due || !progress_.due()) return;
    if (take) take();
    progress_.keep(windows, repair_);
  }

  // Those that training will look at, the held-out ones included.
  std::set<std::int64_t> windows_ahead() const {
    const WindowSet& set = options_.set;
    std::set<std::int64_t> ahead;
    for (std::int64_t i = set.windows; i < set.all(); ++i) ahead.insert(i);
    std::int64_t position = 0;
    for (std::int64_t epoch = 1; epoch <= options_.training.epochs; ++epoch) {
      for (const std::int64_t window : shuffled(set.windows, options_.training.seed, epoch)) {
        if (++position > options_.training.done) ahead.insert(window);
      }
    }
    return ahead;
  }

  DistilledBlocks train_blocks(std::int64_t first, std::int64_t last, std::int64_t total,
                               std::int64_t done) {
    StreamObjective objective(engine_, *gradients_, target_, options_.set, options_.relative);
    const bool own = options_.input == StudentInput::own;
    return train_on(first, last, own ? student_stream_ : teacher_stream_, objective, total, done);
  }

  DistilledBlocks train_on(std::int64_t first, std::int64_t last, const Streams& input,
                           Objective& objective, std::int64_t total, std::int64_t done,
                           bool keeps = false) {
    const auto begin = Clock::now();
    Stream& stream = engine_.stream();
    DistilledBlocks result{.first = first, .last = last, .training = {}};
    {
      const WindowSet& set = options_.set;
      const TrainedBlockOptions block_options{.max_tokens = set.window,
                                              .max_segments = 1,
                                              .max_length = set.window,
                                              .parts = options_.parts};
      Trainee trainee(engine_.transformer(), repair_, levels_, first, last, *gradients_,
                      block_options, stream);
      const auto take = [&] {
        for (std::int64_t block = first; block < last; ++block) {
          repair_.at(block) = trainee.block(block).repaired(stream);
        }
      };
      const std::string what = last - first == 1 ? fmt::format("block {}", first)
                                                 : fmt::format("blocks {}-{}", first, last - 1);
      TrainingProgress steps;
      steps.window = [&](std::int64_t windows, std::int64_t, double loss) {
        if (!progress_.step) return;
        progress_.step(done + windows, total, fmt::format("{}, loss {:.5f}", what, loss));
      };
      steps.step = [&](std::int64_t windows) {
        if (keeps) keep_if_due(windows, take);
      };
      result.training = train(trainee, input.all(), set, objective, options_.training,
                              engine_.operators(), stream, steps);
      take();
    }
    for (std::int64_t block = first; block < last; ++block) {
      install(repair_.at(block), engine_.transformer().shard().blocks.at(block),
              engine_.operators(),
              fmt::format("block {} rank {}", block, engine_.context().rank()));
    }
    // With the teacher's input the outcome is judged there, too, but the next block's is the own.
    const bool own = &input == &student_stream_;
    if (!own) {
      student_walker_.run(first, last, levels_, input, teacher_stream_);
      result.rounded = held_out(objective, teacher_stream_);
    }
    // Behind the whole model only the outcome is wanted.
    student_walker_.run(
        first, last, levels_, student_stream_, student_stream_,
        [&](std::int64_t window) { return !keeps || window >= options_.set.windows; });
    if (own) result.rounded = held_out(objective, student_stream_);
    result.seconds = seconds_since(begin);
    if (progress_.blocks) progress_.blocks(result, repair_);
    return result;
  }

  double held_out(Objective& objective, const Streams& streams) {
    double sum = 0.0;
    const WindowSet& set = options_.set;
    for (std::int64_t i = set.windows; i < set.all(); ++i) {
      sum += objective.loss(streams.window(i), i, nullptr, engine_.stream());
    }
    return sum / static_cast<double>(set.held_out);
  }

  Engine& engine_;
  const DistillOptions& options_;
  RankRepair& repair_;
  const DistillProgress& progress_;
  const SyncLevels& levels_;
  SyncLevels full_;
  std::unique_ptr<Gradients> gradients_;
  std::unique_ptr<Transformer> teacher_;
  Walker teacher_walker_, student_walker_;
  Streams teacher_stream_;  // of block after block; memory that is not touched costs nothing
  Streams target_, student_stream_;
};

}  // namespace

std::set<std::int64_t> blocks_that_leave_out_syncs(const SyncLevels& levels) {
  std::set<std::int64_t> found;
  for (std::int64_t first = 0; first < levels.blocks();) {
    const std::int64_t last = end_of_group(levels, first);
    for (std::int64_t block = first; block < last; ++block) {
      if (levels.leaves_out(first, last)) found.insert(block);
    }
    first = last;
  }
  return found;
}

std::vector<DistilledBlocks> distill_blocks(Engine& engine, const std::vector<std::int32_t>& tokens,
                                            const DistillOptions& options,
                                            const std::set<std::int64_t>& which, RankRepair& repair,
                                            const DistillProgress& progress) {
  return Distiller(engine, tokens, options, repair, progress).run_blocks(which);
}

DistilledBlocks distill_logits(Engine& engine, const std::vector<std::int32_t>& tokens,
                               const DistillOptions& options, RankRepair& repair,
                               const DistillProgress& progress) {
  return Distiller(engine, tokens, options, repair, progress).run_logits();
}

}  // namespace spd
