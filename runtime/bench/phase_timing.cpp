#include "runtime/bench/phase_timing.h"

#include <algorithm>

#include "runtime/bench/benchmark.h"
#include "runtime/report/statistics.h"

namespace spd {
namespace {

// The workload as a benchmark, repeated: short steps vary by a fifth.
BenchmarkOptions benchmark_of(const Workload& workload, std::int64_t repetitions) {
  BenchmarkOptions work;
  work.prompt_tokens = work.depth = workload.prompt;
  work.gen_tokens = std::min<std::int64_t>(workload.generate, 32);
  work.batch = workload.batch;
  work.warmup = 2;
  work.repetitions = repetitions;
  return work;
}

double& phase_of(const TestResult& result, PhaseTimes& times) {
  return result.test.starts_with("pp") ? times.prefill_us : times.decode_us;
}

void take(const TestResult& result, PhaseTimes& times) {
  phase_of(result, times) = quantile(result.step_s, 0.5) * 1e6;
}

// The median of step-by-step differences.
void take_saved(const TestResult& full, const TestResult& plan, LatencyCheck& check) {
  std::vector<double> differences = full.step_s;
  for (std::size_t i = 0; i < differences.size(); ++i) differences[i] -= plan.step_s.at(i);
  const Interval interval = median_interval(differences);
  phase_of(full, check.saved) = quantile(std::move(differences), 0.5) * 1e6;
  phase_of(full, check.saved_low) = interval.low * 1e6;
  phase_of(full, check.saved_high) = interval.high * 1e6;
}

}  // namespace

PhaseTimes time_computing(Engine& engine, const Workload& workload, PhaseTimes given,
                          const std::string& kept, const std::string& remedy) {
  BenchmarkOptions work = benchmark_of(workload, 9);
  if (given.prefill_us >= 0.0) work.prompt_tokens = 0;
  if (given.decode_us >= 0.0) work.gen_tokens = 0;
  if (work.prompt_tokens + work.gen_tokens == 0) return given;
  const SyncLevels full = SyncLevels::all_full(engine.config().blocks);
  const BenchmarkRun run = run_benchmark(engine, {{"no-comm", full, true}}, work);
  if (run.stopped) stop(*run.stopped, kept, remedy);
  for (const TestResult& result : run.results) take(result, given);
  return given;
}

LatencyCheck check_latency(Engine& engine, const SyncLevels& levels, const Workload& workload,
                           const std::string& kept, const std::string& remedy) {
  const SyncLevels full = SyncLevels::all_full(levels.blocks());
  LatencyCheck check;
  const std::vector<Variant> variants = {{"full", full}, {"plan", levels}, {"no-comm", full, true}};
  const BenchmarkRun run = run_benchmark(engine, variants, benchmark_of(workload, 21));
  if (run.stopped) stop(*run.stopped, kept, remedy);
  const std::vector<TestResult>& results = run.results;
  for (std::size_t i = 0; i < results.size(); i += variants.size()) {
    take(results[i], check.full);
    take(results[i + 1], check.plan);
    take(results[i + 2], check.no_comm);
    take_saved(results[i], results[i + 1], check);
  }
  return check;
}

}  // namespace spd
