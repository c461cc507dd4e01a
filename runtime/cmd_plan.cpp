// spd plan: from a machine, sensitivities and a budget to a sync plan.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstdio>

#include "kernels/device/error.h"
#include "model/fingerprint.h"
#include "runtime/benchmark.h"
#include "runtime/command.h"
#include "runtime/evaluation.h"
#include "runtime/output_file.h"
#include "runtime/plan_report.h"
#include "runtime/planner.h"
#include "runtime/progress.h"
#include "runtime/svg_plot.h"
#include "runtime/text_input.h"
#include "runtime/topology_file.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    "spd plan: the sync plan that is fastest on a machine within a loss, or best within a "
    "latency.\n\n"
    "  mpirun -n R spd plan --model DIR --topology FILE --sensitivity FILE --max-loss 1% \\\n"
    "      --text HELD_OUT --out plan.json";
constexpr const char* kExamples =
    "--topology is what spd topo --json wrote, or a description by hand (runtime/topologies). "
    "Losses\n"
    "do not quite add up, so with --text the plan's joint loss is measured and the choice "
    "tightened\n"
    "until the budget holds there: give text that neither the sensitivities nor the repairs have\n"
    "seen. With --plan, its partition and repairs are kept and its levels chosen anew; the\n"
    "sensitivities must have been measured with the same; those of level node count only where "
    "nodes\n"
    "have as many ranks as here. The time without syncs is measured here\n"
    "unless given; virtual ranks share this machine's cores, so give it for a machine "
    "elsewhere.\n\n"
    "Examples:\n"
    "  mpirun -n 2 spd plan -m DIR --topology t.json --sensitivity s.json --max-loss 1% \\\n"
    "      --text valid.txt --skip-windows 16 --limit 8 --out plan.json --plot front.svg\n"
    "  spd plan -m DIR --virtual-ranks 8 --virtual-nodes 2 --assume-links --sensitivity s.json \\\n"
    "      --topology runtime/topologies/2x8-h100-100gbe.json --max-loss 0.02 --prompt 2048 \\\n"
    "      --prefill-compute-ms 20 --decode-compute-ms 3 --out plan.json\n";

struct Options {
  CommonOptions common;
  StartOptions start;
  Workload workload;
  WindowOptions windows{512, 512, 8};
  std::int64_t skip_windows = 0;
  std::string topology, sensitivity, text, out, plot, max_loss, form = "single";
  double max_latency_ms = 0.0;
  double prefill_compute_ms = -1.0;
  double decode_compute_ms = -1.0;
  double tau1 = -1.0;
  double tau2 = -1.0;
  int trials = 6;
  bool assume_links = false;
  bool check_latency = false;

  void parse(const std::vector<std::string>& arguments) {
    po::options_description input("Input");
    input.add_options()                                                                     //
        ("topology", po::value(&topology)->value_name("FILE")->required(),                  //
         "all-reduce times of the machine: spd topo --json, or runtime/topologies/*.json")  //
        ("sensitivity", po::value(&sensitivity)->value_name("FILE")->required(),
         "from spd sensitivity --json, for this model and number of ranks")  //
        ("form", po::value(&form)->value_name("F"),
         "sensitivities to add up: single (default) or backward")  //
        ("assume-links", po::bool_switch(&assume_links),
         "use the topology's times although it describes other numbers of ranks");
    po::options_description work("Workload and budget");
    work.add_options()  //
        ("prompt", po::value(&workload.prompt)->value_name("N"),
         "tokens of a prompt (default 512)")  //
        ("gen", po::value(&workload.generate)->value_name("N"),
         "tokens generated (default 128)")                                               //
        ("batch", po::value(&workload.batch)->value_name("B"), "sequences (default 1)")  //
        ("max-loss", po::value(&max_loss)->value_name("X"),
         "budget: rise of NLL in nats (0.02), or of perplexity in percent (1%)")  //
        ("max-latency", po::value(&max_latency_ms)->value_name("MS"),
         "instead: the least loss within this time of a whole request")  //
        ("prefill-compute-ms", po::value(&prefill_compute_ms)->value_name("MS"),
         "a prompt batch without syncs (default: measured here)")  //
        ("decode-compute-ms", po::value(&decode_compute_ms)->value_name("MS"),
         "a decoding step without syncs (default: measured here)");
    po::options_description held("Held-out text");
    held.add_options()                                                                    //
        ("text", po::value(&text)->value_name("FILE"), "measure the joint loss on this")  //
        ("skip-windows", po::value(&skip_windows)->value_name("W"),
         "leave out the text's first W windows (default 0)")                                  //
        ("window", po::value(&windows.window)->value_name("N"), "tokens (default 512)")       //
        ("limit", po::value(&windows.limit)->value_name("W"), "windows at most (default 8)")  //
        ("trials", po::value(&trials)->value_name("N"),
         "joint losses measured at most (default 6)");
    po::options_description output("Output");
    output.add_options()                                                            //
        ("out,o", po::value(&out)->value_name("FILE"), "the plan")                  //
        ("plot", po::value(&plot)->value_name("FILE.svg"), "latency against loss")  //
        ("check-latency", po::bool_switch(&check_latency),
         "time the plan against every sync full, in turn, beside the prediction")  //
        ("tau1", po::value(&tau1)->value_name("NATS"),
         "blocks whose attn sync costs at most this are in-sensitive (default: budget / blocks)")  //
        ("tau2", po::value(&tau2)->value_name("NATS"),
         "beyond this, extremely sensitive (default: budget)");
    po::options_description all;
    all.add(input).add(work).add(held).add(output).add(common.describe()).add(start.describe());
    parse_arguments(all, arguments, kUsage, kExamples);
    windows.stride = windows.window;
    workload.step_tokens = common.engine.batch_tokens;
    if (workload.prompt < 1 || workload.generate < 1 || workload.batch < 1 || windows.window < 2 ||
        windows.limit < 0 || skip_windows < 0 || trials < 1 || workload.step_tokens < 1) {
      throw Error(ErrorCode::usage, "a count is too small", "see spd plan --help");
    }
    if (max_loss.empty() == (max_latency_ms <= 0.0)) {
      throw Error(ErrorCode::usage, "give either --max-loss or --max-latency",
                  "for example --max-loss 1%");
    }
  }

  // Nats; of no account with --max-latency.
  double budget() const {
    if (max_loss.empty()) return 0.0;
    std::size_t end = 0;
    double value = -1.0;
    try {
      value = std::stod(max_loss, &end);
    } catch (const std::exception&) {
      end = 0;
    }
    const std::string unit = max_loss.substr(end);
    if (end == 0 || !(value >= 0.0) || (unit != "%" && !unit.empty())) {
      throw Error(ErrorCode::usage, fmt::format("--max-loss {}: not a loss", max_loss),
                  "write nats (0.02) or percent of perplexity (1%)");
    }
    return unit == "%" ? std::log1p(value / 100.0) : value;
  }
};

// The sensitivities, if they are this model's, this allocation's and this partition's.
SensitivityTable load_sensitivity(const Options& options, Engine& engine) {
  SensitivityTable table = SensitivityTable::load(options.sensitivity);
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::input, fmt::format("{}: {}", options.sensitivity, why),
                "measure them with spd sensitivity for this model, ranks and --plan");
  };
  try {
    if (table.header.at("model").at("fingerprint") != fingerprint(engine.config())) {
      refuse("is of another model");
    }
    if (const int tp = table.header.at("tp").get<int>(); tp != engine.context().ranks()) {
      refuse(fmt::format("was measured on {} ranks, these are {}", tp, engine.context().ranks()));
    }
    // What a drop or a wire format costs does not depend on who shares a node; `node` does.
    if (table.header.at("ranks_per_node").get<std::vector<int>>() !=
        engine.context().comms.topology.ranks_per_node()) {
      std::erase_if(table.entries, [](const auto& item) { return item.level == SyncLevel::node; });
    }
    const auto plan = engine.plan().to_json(engine.config());
    const auto& theirs = table.header.at("plan");
    if (theirs.at("partition") != plan.at("partition")) refuse("was measured on another partition");
    const auto hash = [](const nlohmann::json& json) {
      return json.contains("repair") ? json.at("repair").at("hash").get<std::string>() : "none";
    };
    if (hash(theirs) != hash(plan)) {
      refuse(fmt::format("was measured with repair {}, --plan has {}", hash(theirs), hash(plan)));
    }
  } catch (const nlohmann::json::exception& error) {
    refuse(error.what());
  }
  if (!table.complete() && engine.context().root()) {
    std::fputs("spd: the sensitivities are not complete: planning with what there is\n", stderr);
  }
  return table;
}

LinkModel load_links(const Options& options, const Topology& topology, std::string& machine) {
  const TopologyFile file = TopologyFile::load(options.topology);
  machine = file.machine;
  if (file.links.ranks_per_node() == topology.ranks_per_node()) return file.links;
  if (!options.assume_links) {
    throw Error(ErrorCode::input,
                fmt::format("{}: describes nodes of [{}] ranks, these have [{}]", options.topology,
                            fmt::join(file.links.ranks_per_node(), ", "),
                            fmt::join(topology.ranks_per_node(), ", ")),
                "start as many ranks, or say --assume-links to use its times all the same");
  }
  return {topology.ranks_per_node(), file.links.curves()};
}

// Seconds without syncs: medians of a short benchmark, unless given.
PhaseTimes compute_times(const Options& options, Engine& engine) {
  PhaseTimes times{options.prefill_compute_ms * 1e3, options.decode_compute_ms * 1e3};
  BenchmarkOptions work;
  work.prompt_tokens = times.prefill_us < 0.0 ? options.workload.prompt : 0;
  work.gen_tokens =
      times.decode_us < 0.0 ? std::min<std::int64_t>(options.workload.generate, 32) : 0;
  work.depth = work.gen_tokens > 0 ? options.workload.prompt : 0;
  work.batch = options.workload.batch;
  work.repetitions = 3;
  if (work.prompt_tokens + work.gen_tokens == 0) return times;
  const SyncLevels full = SyncLevels::all_full(engine.config().blocks);
  for (const TestResult& result : run_benchmark(engine, {{"no-comm", full, true}}, work)) {
    const double us = summarize(result.step_s).p50 * 1e6;
    (result.test.starts_with("pp") ? times.prefill_us : times.decode_us) = us;
  }
  return times;
}

// The held-out text's NLL, plan by plan.
class HeldOut {
 public:
  HeldOut(const Options& options, const std::vector<std::int32_t>& text) : options_(options) {
    const auto skipped = static_cast<std::size_t>(options.skip_windows * options.windows.window);
    if (text.size() < skipped + 2) {
      throw Error(ErrorCode::input, "--text: nothing is left behind --skip-windows",
                  "skip less, or give a longer text");
    }
    text_.assign(text.begin() + static_cast<std::ptrdiff_t>(skipped), text.end());
  }
  double nll(Engine& engine, const SyncLevels& levels, const std::string& what) const {
    std::optional<Progress> bar;
    return evaluate_text(engine, text_, options_.windows, levels, std::nullopt,
                         [&](std::int64_t done, std::int64_t of, const TextScore& score) {
                           if (!bar) bar.emplace(what, of, engine.context().root());
                           bar->update(done, fmt::format("NLL {:.4f}", score.nll()));
                         })
        .plan.nll();
  }

 private:
  const Options& options_;
  std::vector<std::int32_t> text_;
};

// NLL of the model as it came, every sync full: what a repaired plan is held against, too.
double original_nll(RankContext& context, const Options& options, const HeldOut& held_out,
                    std::int64_t length) {
  EngineOptions plain = options.common.engine;
  plain.plan.clear();
  Engine engine(context, plain, length);
  return held_out.nll(engine, SyncLevels::all_full(engine.config().blocks), "every sync full");
}

// Predicted beside measured, both phases; full and plan in turn in one run.
void check_latency(const Options& options, Engine& engine, const SyncLevels& levels,
                   PlanReport& report) {
  BenchmarkOptions work;
  work.prompt_tokens = options.workload.prompt;
  work.gen_tokens = std::min<std::int64_t>(options.workload.generate, 32);
  work.depth = options.workload.prompt;
  work.batch = options.workload.batch;
  const SyncLevels full = SyncLevels::all_full(levels.attn.size());
  const std::vector<Variant> variants{{"full", full, false}, {"plan", levels, false}};
  report.checked.assign(2, PhaseTimes{});
  for (const TestResult& result : run_benchmark(engine, variants, work)) {
    const double us = summarize(result.step_s).p50 * 1e6;
    PhaseTimes& times = report.checked[result.variant == "plan" ? 1 : 0];
    (result.test.starts_with("pp") ? times.prefill_us : times.decode_us) = us;
  }
}

}  // namespace

void run_plan(RankContext& context, const std::vector<std::string>& arguments) {
  Options options;
  options.parse(arguments);
  const double budget = options.budget();
  const std::int64_t length =
      std::max(options.windows.window, options.workload.prompt + options.workload.generate);
  std::optional<HeldOut> held_out;
  std::optional<double> original;
  if (!options.text.empty()) {
    const auto text = read_token_ids(context, options.common.engine.model, options.text);
    agree(context.comms, "reading the text", [&] { held_out.emplace(options, text); });
    original = original_nll(context, options, *held_out, length);
  }
  Engine engine(context, options.common.engine, length);
  PlanReport report;
  SensitivityTable table;
  LinkModel links;
  agree(context.comms, "reading the topology and the sensitivities", [&] {
    links = load_links(options, context.comms.topology, report.machine);
    table = load_sensitivity(options, engine);
  });
  const PhaseTimes compute = compute_times(options, engine);
  std::optional<Planner> made;
  agree(context.comms, "weighing the choices", [&] {
    made.emplace(engine.config(), links, options.workload, table,
                 parse_sensitivity_form(options.form), compute);
  });
  const Planner& planner = *made;

  PlanSolution solution;
  if (options.max_latency_ms > 0.0) {
    const auto found = planner.within_latency(options.max_latency_ms * 1e3);
    if (!found) {
      throw Error(ErrorCode::usage,
                  fmt::format("no plan makes a request in {} ms: the best reaches {:.3f} ms, and "
                              "{:.3f} ms are computing",
                              options.max_latency_ms, planner.least_latency_us() / 1e3,
                              compute.request_us(options.workload) / 1e3),
                  "allow more, or measure sensitivities at more levels and formats");
    }
    solution = *found;
    if (original) {
      const double nll = held_out->nll(engine, planner.levels(solution), "joint loss");
      report.trials.push_back({solution.loss, solution, nll - *original});
    }
  } else if (original) {
    agree(context.comms, "choosing the plan", [&] {
      report.trials = planner.hold_budget(budget, options.trials, [&](const SyncLevels& levels) {
        return held_out->nll(engine, levels, "joint loss") - *original;
      });
    });
    solution = report.trials.back().solution;
  } else {
    solution = planner.within_loss(budget);
  }

  report.budget = options.max_loss.empty() ? solution.loss : budget;
  report.tau1 = options.tau1 >= 0.0 ? options.tau1
                                    : report.budget / static_cast<double>(engine.config().blocks);
  report.tau2 = options.tau2 >= 0.0 ? options.tau2 : report.budget;
  report.original_nll = original;
  report.virtual_compute = context.is_virtual && options.prefill_compute_ms < 0.0;
  if (options.check_latency) check_latency(options, engine, planner.levels(solution), report);

  SyncPlan plan = engine.plan();
  plan.levels = planner.levels(solution);
  const auto folder =
      std::filesystem::absolute(options.out.empty() ? "." : options.out).parent_path();
  nlohmann::json json = plan.to_json(engine.config(), folder);
  json.update(to_json(planner, solution, report));
  write_json(context, options.out, json);
  write_json(context, options.common.json, json);
  if (!context.root()) return;
  print_report(planner, solution, report);
  if (!options.plot.empty()) {
    write_text_file("--plot", options.plot, to_svg(plot_of(planner, solution, report)));
  }
}

}  // namespace spd
