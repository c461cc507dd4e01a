// spd bench: prefill and decoding speed, plan against plan, with the no-comm bound.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <limits>

#include "kernels/device/error.h"
#include "runtime/bench/benchmark.h"
#include "runtime/bench/prediction_cost.h"
#include "runtime/commands/command.h"
#include "runtime/job/console.h"
#include "runtime/job/progress.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    "spd bench: time prefill (pp) and decoding (tg) under a plan, a baseline and no syncs at "
    "all.\n\n"
    "  mpirun -n R spd bench --model DIR [options]";
constexpr const char* kExamples =
    "Rows are named as llama-bench names them: pp512 is a prefill of 512 tokens, tg128 the "
    "decoding\n"
    "of 128 tokens one by one; tokenising and sampling are left out. Variants run in turn within\n"
    "each repetition; a step's time is the slowest rank's. \"no-comm\" is the same work with "
    "every\n"
    "sync removed: the most that any sync policy can win.\n\n"
    "Examples:\n"
    "  mpirun -n 2 spd bench -m DIR --drop attn:5-20\n"
    "  mpirun -n 2 spd bench -m DIR --plan a.json --against b.json --json out.json\n"
    "  mpirun -n 8 spd bench -m DIR_WITH_CONFIG_JSON --random-weights --layers 2\n";

struct BenchOptions {
  CommonOptions common;
  StartOptions start;
  NamedFiles files;
  BenchmarkOptions benchmark;
  std::string against = "auto";
  bool skip_bound = false;
  bool prediction_cost = false;

  void parse(const std::vector<std::string>& arguments) {
    EngineOptions& engine = common.engine;
    po::options_description work("Work");
    work.add_options()                                                                      //
        ("prompt-tokens", po::value(&benchmark.prompt_tokens)->value_name("N"),             //
         "tokens of the prefill test, 0: none (default 512)")                               //
        ("gen-tokens", po::value(&benchmark.gen_tokens)->value_name("N"),                   //
         "tokens of the decoding test, 0: none (default 128)")                              //
        ("depth", po::value(&benchmark.depth)->value_name("N"),                             //
         "tokens in the cache before decoding begins (default 0)")                          //
        ("batch", po::value(&benchmark.batch)->value_name("B"), "sequences (default 1)")    //
        ("repetitions,r", po::value(&benchmark.repetitions)->value_name("N"), "default 5")  //
        ("warmup", po::value(&benchmark.warmup)->value_name("N"),
         "repetitions not counted (default 1)")            //
        ("against", po::value(&against)->value_name("B"),  //
         "baseline to run in turn: full, none, or a plan file (default: full where the plan "
         "skips a sync)")                                                          //
        ("no-bound", po::bool_switch(&skip_bound), "leave the no-comm bound out")  //
        ("prediction-cost", po::bool_switch(&prediction_cost),
         "run the plan without its predictions, too, and say what they cost")                //
        ("random-weights", po::bool_switch(&engine.random_weights),                          //
         "config.json is enough: time the shapes of a model whose weights are not at hand")  //
        ("layers", po::value(&engine.layers)->value_name("N"), "use the first N blocks only");
    po::options_description all;
    all.add(work).add(common.describe()).add(start.describe());
    files = parse_arguments(all, arguments, kUsage, kExamples);
    const bool sane = benchmark.prompt_tokens >= 0 && benchmark.gen_tokens >= 0 &&
                      benchmark.depth >= 0 && benchmark.batch >= 1 && benchmark.repetitions >= 1 &&
                      benchmark.warmup >= 0;
    if (!sane || benchmark.prompt_tokens + benchmark.gen_tokens == 0) {
      throw Error(ErrorCode::usage, "nothing to time, or a negative count", "see spd bench --help");
    }
    if (benchmark.batch > engine.batch_tokens) {
      throw Error(ErrorCode::usage,
                  fmt::format("--batch {} is beyond --batch-tokens {}", benchmark.batch,
                              engine.batch_tokens),
                  "raise --batch-tokens");
    }
  }
};

Summary tokens_per_second(const TestResult& result) {
  std::vector<double> rates;
  rates.reserve(result.repetition_s.size());
  for (const double seconds : result.repetition_s) {
    rates.push_back(static_cast<double>(result.tokens) / seconds);
  }
  return summarize(rates);
}

Summary milliseconds(const std::vector<double>& seconds) {
  std::vector<double> scaled;
  scaled.reserve(seconds.size());
  for (const double value : seconds) scaled.push_back(value * 1e3);
  return summarize(scaled);
}

bool is_prefill(const TestResult& result) { return result.test.starts_with("pp"); }

void print_rates(const std::vector<TestResult>& results) {
  say("{:<14} {:<10} {:>20} {:>10} | {:>5} {:>9} {:>9} {:>9}  (ms, slowest rank)\n", "test",
      "variant", "tokens/s", "median", "", "p50", "p99", "max");
  for (const TestResult& result : results) {
    const Summary rate = tokens_per_second(result);
    const Summary step = milliseconds(result.step_s);
    say("{:<14} {:<10} {:>12.2f} ± {:>5.2f} {:>10.2f} | {:>5} {:>9.3f} {:>9.3f} {:>9.3f}\n",
        result.test, result.variant, rate.mean, rate.deviation, rate.p50,
        is_prefill(result) ? "TTFT" : "TPOT", step.p50, step.p99, step.max);
  }
}

// Milliseconds a repetition by kind of work: mean over ranks, and the largest where syncs wait.
void print_work(const std::vector<TestResult>& results) {
  say("\nwhere the time goes (ms a repetition, mean over ranks)\n{:<14} {:<10}", "test", "variant");
  for (std::size_t kind = 0; kind < kWorkKinds; ++kind) {
    say(" {:>9}", name(static_cast<Work>(kind)));
  }
  say("\n");
  for (const TestResult& result : results) {
    say("{:<14} {:<10}", result.test, result.variant);
    for (std::size_t kind = 0; kind < kWorkKinds; ++kind) {
      double sum = 0.0;
      for (const Profile& profile : result.profile) sum += profile.seconds[kind];
      say(" {:>9.3f}", 1e3 * sum / static_cast<double>(result.profile.size()));
    }
    say("\n");
  }
}

Traffic total(const std::vector<Traffic>& ranks) {
  Traffic sum;
  for (const Traffic& rank : ranks) sum += rank;
  return sum;
}

// What all ranks send in a repetition; nothing is sent between threads.
void print_traffic(const std::vector<TestResult>& results) {
  constexpr double kMiB = 1024.0 * 1024.0;
  const auto silent = [](const TestResult& result) {
    const Traffic sent = total(result.traffic);
    return sent.node_messages + sent.cross_messages == 0;
  };
  if (std::all_of(results.begin(), results.end(), silent)) return;
  say("\nsent a repetition, all ranks   within nodes               across nodes\n");
  for (const TestResult& result : results) {
    const Traffic sent = total(result.traffic);
    say("{:<14} {:<10} {:>10.3f} MiB {:>8} msgs {:>10.3f} MiB {:>8} msgs\n", result.test,
        result.variant, static_cast<double>(sent.node_bytes) / kMiB, sent.node_messages,
        static_cast<double>(sent.cross_bytes) / kMiB, sent.cross_messages);
  }
}

nlohmann::json to_json(const TestResult& result) {
  nlohmann::json work = nlohmann::json::array();
  for (const Profile& profile : result.profile) {
    nlohmann::json entry;
    for (std::size_t kind = 0; kind < kWorkKinds; ++kind) {
      entry[std::string(name(static_cast<Work>(kind))) + "_ms"] = profile.seconds[kind] * 1e3;
    }
    std::vector<double> attn_us;
    std::vector<double> mlp_us;
    for (const double seconds : profile.sync_seconds.attn) attn_us.push_back(seconds * 1e6);
    for (const double seconds : profile.sync_seconds.mlp) mlp_us.push_back(seconds * 1e6);
    entry["attn_sync_us_by_block"] = attn_us;
    entry["mlp_sync_us_by_block"] = mlp_us;
    work.push_back(std::move(entry));
  }
  const Traffic sent = total(result.traffic);
  return {{"variant", result.variant},
          {"test", result.test},
          {"kind", is_prefill(result) ? "prefill" : "decode"},
          {"tokens", result.tokens},
          {"tokens_per_s", to_json(tokens_per_second(result))},
          {is_prefill(result) ? "ttft_ms" : "tpot_ms", to_json(milliseconds(result.step_s))},
          {"work_by_rank", work},
          {"sent_node_bytes", sent.node_bytes},
          {"sent_node_messages", sent.node_messages},
          {"sent_cross_bytes", sent.cross_bytes},
          {"sent_cross_messages", sent.cross_messages}};
}

// Bytes that a decoding step reads at least: the weights, once.
double read_share(const TestResult& result, double weight_bytes, double bandwidth) {
  return weight_bytes / summarize(result.step_s).p50 / bandwidth;
}

}  // namespace

void run_bench(RankContext& context, const std::vector<std::string>& arguments) {
  BenchOptions options;
  options.parse(arguments);
  const BenchmarkOptions& work = options.benchmark;
  check_apart(context, options.files);
  const OutputFile results_file = open_output(context, "--json", options.common.json);
  Engine engine(context, options.common.engine,
                std::max(work.prompt_tokens, work.depth + work.gen_tokens));

  const SyncLevels full = SyncLevels::all_full(engine.config().blocks);
  const SyncLevels& levels = engine.plan().levels;
  std::vector<Variant> variants;
  agree(context.comms, "reading the baseline", [&] {
    if (options.against == "full" || (options.against == "auto" && !(levels == full))) {
      variants.push_back({"full", full, false});
    } else if (options.against != "auto" && options.against != "none") {
      variants.push_back({"baseline", engine.load_plan(options.against).levels, false});
    }
  });
  variants.push_back({levels == full ? "full" : "plan", levels, false});
  if (variants.size() == 2 && variants[0].name == variants[1].name) variants.pop_back();
  if (!options.skip_bound && context.ranks() > 1) variants.push_back({"no-comm", full, true});

  const PredictionUse predictions = prediction_use(engine.transformer().shard(), levels);
  if (options.prediction_cost) {
    if (predictions.share == 0.0) {
      throw Error(ErrorCode::usage, "--prediction-cost: the plan predicts nothing, or only means",
                  "give a plan that spd repair --methods prediction made");
    }
    variants.push_back({kUnpredicted, levels, false, false});
  }

  const int threads = engine.operators().parallelism();
  std::optional<Progress> bar;
  double read_s = std::numeric_limits<double>::infinity();
  const BenchmarkRun run =
      run_benchmark(engine, variants, work, [&](std::int64_t done, std::int64_t of) {
        read_s = std::min(read_s, time_weight_reading(engine));  // in turn with the tests
        if (!bar) bar.emplace("repetitions", of, context.root());
        bar->update(done);
      });
  bar.reset();
  if (run.repetitions == 0) {
    stop(*run.stopped, "no repetition came to its end", "the same command begins anew");
  }
  const std::vector<TestResult>& results = run.results;

  nlohmann::json json = result_header("bench", engine);
  const auto weight_bytes = static_cast<double>(engine.transformer().weight_bytes());
  const double own_bandwidth = weight_bytes / read_s;
  std::vector<double> bandwidths(context.ranks());
  context.comms.world->all_gather(&own_bandwidth, bandwidths.data(), sizeof(double),
                                  engine.stream(), {"bandwidth"});
  json["weight_bytes"] = weight_bytes;
  json["read_bandwidth_bytes_per_s"] = bandwidths;
  json["repetitions"] = run.repetitions;
  json["results"] = nlohmann::json::array();
  for (const TestResult& result : results) {
    json["results"].push_back(to_json(result));
    if (!is_prefill(result)) {
      json["results"].back()["share_of_read_bandwidth"] =
          read_share(result, weight_bytes, own_bandwidth);
    }
  }
  const std::vector<PredictionCost> costs = prediction_costs(results, predictions);
  for (const PredictionCost& cost : costs) json["prediction_cost"].push_back(to_json(cost));
  if (context.root()) {
    say("{} | {} rank(s) x {} thread(s), {} node(s), {} | {} blocks, {:.1f} MiB of weights "
        "on rank 0\nplan: {}\n\n",
        engine.operators().device().name(), context.ranks(), threads,
        context.comms.topology.nodes(), context.comms.world->backend(), engine.config().blocks,
        weight_bytes / (1024.0 * 1024.0), levels.describe());
    print_rates(results);
    for (const TestResult& result : results) {
      if (is_prefill(result) || work.batch > 1) continue;
      say("{:<14} {:<10} reads weights at {:.2f} GB/s, {:.0f} % of the {:.2f} GB/s at which rank 0 "
          "reads them and computes nothing\n",
          result.test, result.variant, weight_bytes / summarize(result.step_s).p50 / 1e9,
          100.0 * read_share(result, weight_bytes, own_bandwidth), own_bandwidth / 1e9);
    }
    print(costs);
    print_work(results);
    print_traffic(results);
  }
  write_json(context, results_file, json);
  if (run.stopped) {
    stop(*run.stopped,
         fmt::format("kept: the results of {} of {} repetitions, {}", run.repetitions,
                     work.repetitions,
                     results_file ? fmt::format("in {}", options.common.json) : "on stdout"),
         "the same command begins anew; -r takes fewer repetitions");
  }
}

}  // namespace spd
