#include "runtime/phase_timing.h"

#include <algorithm>

#include "runtime/benchmark.h"
#include "runtime/statistics.h"

namespace spd {
namespace {

// The workload as a benchmark: medians of nine, for short steps vary by a fifth.
BenchmarkOptions benchmark_of(const Workload& workload) {
  BenchmarkOptions work;
  work.prompt_tokens = work.depth = workload.prompt;
  work.gen_tokens = std::min<std::int64_t>(workload.generate, 32);
  work.batch = workload.batch;
  work.warmup = 2;
  work.repetitions = 9;
  return work;
}

void take(const TestResult& result, PhaseTimes& times) {
  const double us = summarize(result.step_s).p50 * 1e6;
  (result.test.starts_with("pp") ? times.prefill_us : times.decode_us) = us;
}

}  // namespace

PhaseTimes time_computing(Engine& engine, const Workload& workload, PhaseTimes given) {
  BenchmarkOptions work = benchmark_of(workload);
  if (given.prefill_us >= 0.0) work.prompt_tokens = 0;
  if (given.decode_us >= 0.0) work.gen_tokens = 0;
  if (work.prompt_tokens + work.gen_tokens == 0) return given;
  const SyncLevels full = SyncLevels::all_full(engine.config().blocks);
  for (const TestResult& result : run_benchmark(engine, {{"no-comm", full, true}}, work)) {
    take(result, given);
  }
  return given;
}

LatencyCheck check_latency(Engine& engine, const SyncLevels& levels, const Workload& workload) {
  const SyncLevels full = SyncLevels::all_full(levels.attn.size());
  LatencyCheck check;
  for (const TestResult& result :
       run_benchmark(engine, {{"full", full}, {"plan", levels}, {"no-comm", full, true}},
                     benchmark_of(workload))) {
    take(result, result.variant == "full"   ? check.full
                 : result.variant == "plan" ? check.plan
                                            : check.no_comm);
  }
  return check;
}

}  // namespace spd
