// Timing prefill and decoding under several sync plans, in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/null_communicator.h"
#include "runtime/inference/engine.h"
#include "runtime/job/interrupt.h"
#include "runtime/report/statistics.h"

namespace spd {

struct BenchmarkOptions {
  std::int64_t prompt_tokens = 512;  ///< of a prefill; 0: no prefill test
  std::int64_t gen_tokens = 128;     ///< decoding steps; 0: no decoding test
  std::int64_t depth = 0;            ///< tokens in the cache before decoding begins
  std::int64_t batch = 1;            ///< sequences
  std::int64_t repetitions = 5;
  std::int64_t warmup = 1;  ///< repetitions that are not counted
};

/// One thing to be timed.
struct Variant {
  std::string name;
  SyncLevels levels;
  bool no_comm = false;     ///< every sync removed, whatever the levels
  bool predictions = true;  ///< made where the plan has any
};

/// Seconds of one test of one variant. Times are the maximum over the ranks, step by step.
struct TestResult {
  std::string variant;
  std::string test;         ///< "pp512", "tg128", "tg128 @ d512", with " x8" for a batch of 8
  std::int64_t tokens = 0;  ///< processed in one repetition, over the batch
  std::vector<double> repetition_s;  ///< [repetitions]
  std::vector<double> step_s;        ///< [repetitions * steps]: TTFT samples, or TPOT samples
  std::vector<WorkSeconds> work_s;   ///< [repetitions]: by kind of work, mean over ranks
  std::vector<Profile> profile;      ///< [ranks]: where the time went, per repetition
  std::vector<Traffic> traffic;      ///< [ranks]: what each sent, per repetition
};

struct BenchmarkRun {
  std::vector<TestResult> results;      ///< of the repetitions that came to their ends
  std::int64_t repetitions = 0;         ///< those
  std::optional<Interruption> stopped;  ///< before the last
};

/// Seconds in which this rank reads the weights that a decoding step reads, on the step's threads
/// and from where they lie, and computes nothing; all ranks at once, as in decoding. The best of a
/// few passes: a bound on decoding, if taken in turn with it. All ranks call it alike.
double time_weight_reading(Engine& engine);

/// Runs every variant in turn, repetition by repetition, so that a drift of the machine meets all
/// alike. Input tokens are random, logits are computed as a generation would, nothing is sampled.
/// All ranks call it alike and get the same result: test by test, each with its variants as given.
/// `progress(repetitions done, of)`.
BenchmarkRun run_benchmark(Engine& engine, const std::vector<Variant>& variants,
                           const BenchmarkOptions& options,
                           const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace spd
