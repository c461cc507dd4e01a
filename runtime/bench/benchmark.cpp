#include "runtime/bench/benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace spd {
namespace {

using Clock = std::chrono::steady_clock;
constexpr CallSite kSite{"benchmark"};
// Between steps ranks are seldom asked whether to stop: it is their speed that is measured.
constexpr std::chrono::milliseconds kPace{500};

class Benchmark {
 public:
  Benchmark(Engine& engine, const BenchmarkOptions& options)
      : transformer_(engine.transformer()),
        stream_(engine.stream()),
        options_(options),
        comms_(engine.context().comms),
        safe_points_(engine.context().comms, engine.stream(), kPace),
        cache_(engine.make_cache(
            options.batch, std::max(options.prompt_tokens, options.depth + options.gen_tokens))),
        hidden_(engine.operators().device(),
                options.batch * engine.config().hidden * sizeof(float)),
        logits_(engine.operators().device(),
                options.batch * transformer_.vocab_range().count * sizeof(float)) {
    std::mt19937 random(1);
    std::uniform_int_distribution<std::int32_t> token(
        0, static_cast<std::int32_t>(engine.config().vocab - 1));
    tokens_.resize(std::max(options.prompt_tokens, options.depth + options.gen_tokens));
    for (std::int32_t& id : tokens_) id = token(random);
  }

  // Seconds of one prefill of every sequence of the batch, one after the other.
  std::vector<double> prefill(const SyncLevels& levels, std::int64_t count) {
    const auto begin = Clock::now();
    const std::int64_t chunk = transformer_.options().max_tokens;
    for (std::int64_t slot = 0; slot < options_.batch; ++slot) {
      for (std::int64_t first = 0; first < count; first += chunk) {
        if (first + slot > 0 && ask_to_stop()) return {};
        const std::int64_t length = std::min(chunk, count - first);
        const Segment segment{0, length, slot, first};
        const auto hidden = transformer_.forward(std::span(tokens_).subspan(first, length),
                                                 {&segment, 1}, levels, cache_, stream_);
        if (first + length == count) logits(hidden.row_range(length - 1, 1));
      }
    }
    stream_.synchronize();
    return {seconds_since(begin)};
  }

  // Seconds of each step that gives every sequence of the batch one more token.
  std::vector<double> decode(const SyncLevels& levels) {
    std::vector<double> steps;
    std::vector<Segment> segments(options_.batch);
    std::vector<std::int32_t> ids(options_.batch);
    for (std::int64_t step = 0; step < options_.gen_tokens; ++step) {
      const auto begin = Clock::now();
      for (std::int64_t slot = 0; slot < options_.batch; ++slot) {
        segments[slot] = {slot, 1, slot, options_.depth + step};
        ids[slot] = tokens_[options_.depth + step];
      }
      logits(transformer_.forward(ids, segments, levels, cache_, stream_));
      stream_.synchronize();
      steps.push_back(seconds_since(begin));
      if (ask_to_stop()) return {};
    }
    return steps;
  }

  /// Why the last test has not come to its end.
  const std::optional<Interruption>& stopped() const { return stopped_; }
  bool ask_to_stop() {
    const Traffic before = comms_.traffic();
    stopped_ = safe_points_.behind_step();
    asked_ += comms_.traffic() - before;
    return stopped_.has_value();
  }
  /// What was sent so far for that.
  const Traffic& asked() const { return asked_; }

 private:
  static double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  void logits(ConstActivations hidden) {
    const Activations y{logits_.as<float>(), hidden.rows, transformer_.vocab_range().count};
    transformer_.logits(hidden, y, stream_);
  }

  Transformer& transformer_;
  Stream& stream_;
  BenchmarkOptions options_;
  const RankComms& comms_;
  SafePoints safe_points_;
  Traffic asked_;
  std::optional<Interruption> stopped_;
  KvCache cache_;
  Buffer hidden_, logits_;
  std::vector<std::int32_t> tokens_;
};

// Every rank's samples, one rank's behind the other's.
std::vector<double> gather(const RankComms& comms, const std::vector<double>& mine,
                           Stream& stream) {
  std::vector<double> all(mine.size() * comms.ranks());
  comms.world->all_gather(mine.data(), all.data(), mine.size() * sizeof(double), stream, kSite);
  return all;
}

// Each sample becomes its mean over the ranks.
void average(const RankComms& comms, std::vector<WorkSeconds>& samples, Stream& stream) {
  std::vector<double> mine;
  for (const WorkSeconds& sample : samples) mine.insert(mine.end(), sample.begin(), sample.end());
  const std::vector<double> all = gather(comms, mine, stream);
  std::fill(samples.begin(), samples.end(), WorkSeconds{});
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t of_rank = i % mine.size();
    samples[of_rank / kWorkKinds][of_rank % kWorkKinds] += all[i] / comms.ranks();
  }
}

std::vector<Profile> gather(const RankComms& comms, const Profile& mine, Stream& stream) {
  const std::size_t blocks = mine.sync_seconds.attn.size();
  std::vector<double> flat(mine.seconds.begin(), mine.seconds.end());
  for (const SyncPoint point : kSyncPoints) {
    const std::vector<double>& seconds = mine.sync_seconds[point];
    flat.insert(flat.end(), seconds.begin(), seconds.end());
  }
  const std::vector<double> all = gather(comms, flat, stream);
  std::vector<Profile> profiles;
  for (int rank = 0; rank < comms.ranks(); ++rank) {
    const double* from = all.data() + rank * flat.size();
    Profile profile(static_cast<std::int64_t>(blocks));
    std::copy_n(from, kWorkKinds, profile.seconds.begin());
    std::copy_n(from + kWorkKinds, blocks, profile.sync_seconds.attn.begin());
    std::copy_n(from + kWorkKinds + blocks, blocks, profile.sync_seconds.mlp.begin());
    profile.steps = mine.steps;
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

std::vector<Traffic> gather(const RankComms& comms, const Traffic& mine, Stream& stream) {
  std::vector<Traffic> all(comms.ranks());
  comms.world->all_gather(&mine, all.data(), sizeof(Traffic), stream, kSite);
  return all;
}

void add(Profile& sum, const Profile& other) {
  for (std::size_t i = 0; i < kWorkKinds; ++i) sum.seconds[i] += other.seconds[i];
  for (const SyncPoint point : kSyncPoints) {
    const std::vector<double>& more = other.sync_seconds[point];
    for (std::size_t i = 0; i < more.size(); ++i) sum.sync_seconds[point][i] += more[i];
  }
  sum.steps += other.steps;
}

struct Test {
  std::string name;
  std::int64_t tokens;  // of one repetition
  std::function<std::vector<double>(const SyncLevels&)> run;
};

std::vector<Test> tests_of(Benchmark& benchmark, const BenchmarkOptions& options) {
  const std::string batch = options.batch > 1 ? fmt::format(" x{}", options.batch) : "";
  std::vector<Test> tests;
  if (options.prompt_tokens > 0) {
    tests.push_back({fmt::format("pp{}{}", options.prompt_tokens, batch),
                     options.prompt_tokens * options.batch, [&](const SyncLevels& levels) {
                       return benchmark.prefill(levels, options.prompt_tokens);
                     }});
  }
  if (options.gen_tokens > 0) {
    const std::string depth = options.depth > 0 ? fmt::format(" @ d{}", options.depth) : "";
    tests.push_back({fmt::format("tg{}{}{}", options.gen_tokens, depth, batch),
                     options.gen_tokens * options.batch,
                     [&](const SyncLevels& levels) { return benchmark.decode(levels); }});
  }
  return tests;
}

// Repetitions of every test under every variant, in turn.
class Rounds {
 public:
  Rounds(Engine& engine, Benchmark& benchmark, const std::vector<Test>& tests,
         const std::vector<Variant>& variants)
      : engine_(engine),
        comms_(engine.context().comms),
        benchmark_(benchmark),
        tests_(tests),
        variants_(variants),
        no_world_(comms_.rank, comms_.ranks()),
        no_node_(comms_.node->rank(), comms_.node->size()),
        no_comms_(comms_) {
    no_comms_.world = &no_world_;
    no_comms_.node = &no_node_;
    for (const Test& test : tests_) {
      for (const Variant& variant : variants_) {
        run_.results.push_back({variant.name, test.name, test.tokens, {}, {}, {}, {}, {}});
      }
    }
    profiles_.assign(run_.results.size(), Profile(engine.config().blocks));
    sent_.resize(run_.results.size());
  }

  // One repetition; a warm-up is not counted. False: stopped, and nothing of it is kept.
  bool repeat(bool counted) {
    std::vector<TestResult> before = run_.results;
    std::vector<Profile> profiles = profiles_;
    std::size_t index = 0;
    for (const Test& test : tests_) {
      for (const Variant& variant : variants_) {
        if (!time(test, variant, index++, counted)) {
          run_.results = std::move(before);
          profiles_ = std::move(profiles);
          return false;
        }
      }
    }
    run_.repetitions += counted ? 1 : 0;
    return true;
  }

  // Means over the repetitions, gathered from all ranks.
  BenchmarkRun finish() {
    if (run_.repetitions == 0) run_.results.clear();
    for (std::size_t i = 0; i < run_.results.size(); ++i) {
      const auto repetitions = static_cast<double>(run_.repetitions);
      for (double& seconds : profiles_[i].seconds) seconds /= repetitions;
      for (const SyncPoint point : kSyncPoints) {
        for (double& seconds : profiles_[i].sync_seconds[point]) seconds /= repetitions;
      }
      average(comms_, run_.results[i].work_s, engine_.stream());
      run_.results[i].profile = gather(comms_, profiles_[i], engine_.stream());
      run_.results[i].traffic = gather(comms_, sent_[i], engine_.stream());
    }
    return std::move(run_);
  }

 private:
  bool time(const Test& test, const Variant& variant, std::size_t index, bool counted) {
    Transformer& transformer = engine_.transformer();
    comms_.world->barrier(kSite);
    transformer.set_comms(variant.no_comm ? no_comms_ : comms_);
    transformer.use_predictions(variant.predictions);
    transformer.profile().reset();
    const Traffic before = comms_.traffic();
    const Traffic asked = benchmark_.asked();
    const auto mine = test.run(variant.levels);
    sent_[index] = comms_.traffic() - before - (benchmark_.asked() - asked);  // always the same
    transformer.set_comms(comms_);
    transformer.use_predictions(true);
    run_.stopped = benchmark_.stopped();
    if (!run_.stopped) run_.stopped = find_interruption(comms_, engine_.stream());
    if (run_.stopped) return false;
    if (!counted) return true;
    const auto steps = slowest(comms_, mine, engine_.stream(), kSite);
    TestResult& result = run_.results[index];
    result.repetition_s.push_back(std::accumulate(steps.begin(), steps.end(), 0.0));
    result.step_s.insert(result.step_s.end(), steps.begin(), steps.end());
    result.work_s.push_back(transformer.profile().seconds);
    add(profiles_[index], transformer.profile());
    return true;
  }

  Engine& engine_;
  const RankComms comms_;
  Benchmark& benchmark_;
  const std::vector<Test>& tests_;
  const std::vector<Variant>& variants_;
  NullCommunicator no_world_, no_node_;
  RankComms no_comms_;
  BenchmarkRun run_;
  std::vector<Profile> profiles_;  // this rank's, summed
  std::vector<Traffic> sent_;      // by this rank in a repetition
};

}  // namespace

double time_weight_reading(Engine& engine) {
  constexpr int kPasses = 3;
  const std::vector<const Weight*> weights = engine.transformer().weights_read();
  double best = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < kPasses; ++pass) {
    engine.context().comms.world->barrier(kSite);
    const auto begin = Clock::now();
    engine.operators().read(weights, engine.stream());
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return best;
}

BenchmarkRun run_benchmark(Engine& engine, const std::vector<Variant>& variants,
                           const BenchmarkOptions& options,
                           const std::function<void(std::int64_t, std::int64_t)>& progress) {
  Benchmark benchmark(engine, options);
  const std::vector<Test> tests = tests_of(benchmark, options);
  if (options.gen_tokens > 0 && options.depth > 0) {
    benchmark.prefill(variants.front().levels, options.depth);
  }
  Rounds rounds(engine, benchmark, tests, variants);
  const std::int64_t all = options.warmup + options.repetitions;
  for (std::int64_t round = 0; round < all && rounds.repeat(round >= options.warmup); ++round) {
    if (progress) progress(round + 1, all);
  }
  return rounds.finish();
}

}  // namespace spd
