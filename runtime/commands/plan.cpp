// spd plan: from a machine, sensitivities and a budget to a sync plan.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstdio>
#include <limits>

#include "kernels/device/error.h"
#include "model/fingerprint.h"
#include "model/hash.h"
#include "model/json_object.h"
#include "runtime/bench/phase_timing.h"
#include "runtime/cluster/topology_file.h"
#include "runtime/commands/command.h"
#include "runtime/commands/plan_report.h"
#include "runtime/inference/text_input.h"
#include "runtime/job/console.h"
#include "runtime/planning/plan_judge.h"
#include "runtime/planning/planner.h"
#include "runtime/repair/plan_output.h"
#include "runtime/repair/trial_repair.h"
#include "runtime/report/output_file.h"
#include "runtime/report/svg_plot.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    "spd plan: the sync plan that is fastest on a machine within a loss, or best within a "
    "latency.\n\n"
    "  mpirun -n R spd plan --model DIR --topology FILE --sensitivity FILE --max-loss 1% \\\n"
    "      --text HELD_OUT --out plan.json";
constexpr const char* kExamples =
    "--topology is what spd topo --json wrote, or a description by hand "
    "(runtime/cluster/topologies). "
    "Losses\n"
    "do not quite add up, so with --text the plan's joint loss is measured, window by window "
    "against\n"
    "every sync full, and the choice tightened until the budget holds for its upper confidence "
    "bound:\n"
    "more windows let a plan come nearer to the budget. Give text that neither the sensitivities "
    "nor\n"
    "the repairs have seen. What was measured is kept beside --out until the plan is there: an\n"
    "interrupted search goes on when repeated.\n"
    "With --repair each plan tried is repaired first, and judged so; give sensitivities of "
    "repaired\n"
    "plans, too: spd repair --drop attn:all, spd sensitivity --plan with the result, and the same "
    "for\nmlp. With --plan, its partition and repairs are kept and "
    "its levels chosen anew; the\n"
    "sensitivities must have been measured with the same; those of level node count only where "
    "nodes\n"
    "have as many ranks as here. The time without syncs is measured here\n"
    "unless given; virtual ranks share this machine's cores, so give it for a machine "
    "elsewhere.\n\n"
    "Examples:\n"
    "  mpirun -n 2 spd plan -m DIR --topology t.json --sensitivity s.json --max-loss 1% \\\n"
    "      --text valid.txt --skip-windows 16 --limit 8 --out plan.json --plot front.svg\n"
    "  spd plan -m DIR --virtual-ranks 8 --virtual-nodes 2 --assume-links --sensitivity s.json \\\n"
    "      --topology runtime/cluster/topologies/2x8-h100-100gbe.json --max-loss 0.02 --prompt "
    "2048 \\\n"
    "      --prefill-compute-ms 20 --decode-compute-ms 3 --out plan.json\n";

// Below zero is what these are where they are not given.
auto not_negative(const char* flag) {
  return [=](double value) {
    if (value >= 0.0) return;
    throw Error(ErrorCode::usage, fmt::format("{} {} is negative", flag, value),
                "give 0 or more, or leave it out");
  };
}

struct Options {
  CommonOptions common;
  StartOptions start;
  NamedFiles files;
  Workload workload;
  PlanJudgeOptions held_out;
  CalibrationOptions calibration;
  std::vector<std::string> sensitivity;
  std::string topology, text, repair, out, plot, max_loss, form = "single";
  SensitivityForm sums_up = SensitivityForm::single;
  double max_latency_ms = 0.0;
  double prefill_compute_ms = -1.0;
  double decode_compute_ms = -1.0;
  double tau1 = -1.0;
  double tau2 = -1.0;
  bool assume_links = false;
  bool check_latency = false;

  void parse(const std::vector<std::string>& arguments) {
    po::options_description input("Input");
    input.add_options()                                                     //
        ("topology", po::value(&topology)->value_name("FILE")->required(),  //
         "all-reduce times of the machine: spd topo --json, or "
         "runtime/cluster/topologies/*.json")  //
        ("sensitivity", po::value(&sensitivity)->value_name("FILE")->required()->composing(),
         "from spd sensitivity --json, for this model and number of ranks; of several, the last "
         "that knows a sync point's level counts")  //
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
        ("max-latency",
         po::value(&max_latency_ms)->value_name("MS")->notifier(not_negative("--max-latency")),
         "instead: the least loss within this time of a whole request")  //
        ("prefill-compute-ms",
         po::value(&prefill_compute_ms)
             ->value_name("MS")
             ->notifier(not_negative("--prefill-compute-ms")),
         "a prompt batch without syncs (default: measured here)")  //
        ("decode-compute-ms",
         po::value(&decode_compute_ms)
             ->value_name("MS")
             ->notifier(not_negative("--decode-compute-ms")),
         "a decoding step without syncs (default: measured here)");
    po::options_description held("Held-out text");
    held.add_options()                                  //
        ("text", po::value(&text)->value_name("FILE"),  //
         "measure the joint loss on this; -: stdin")    //
        ("skip-windows", po::value(&held_out.skip)->value_name("W"),
         "leave out the text's first W windows (default 0)")                              //
        ("window", po::value(&held_out.window)->value_name("N"), "tokens (default 512)")  //
        ("limit", po::value(&held_out.windows)->value_name("W"),
         "windows at most, spread over the text (default 64; 0: all)")  //
        ("trials", po::value(&held_out.trials)->value_name("N"),
         "plans measured at most (default 6)")  //
        ("confidence", po::value(&held_out.confidence)->value_name("P"),
         "that the loss is within the budget, over all trials (default 0.95)");
    po::options_description repairs("Repairs");
    repairs.add_options()  //
        ("repair", po::value(&repair)->value_name("FILE"),
         "repair what a plan leaves out before it is judged, as spd repair does, on this "
         "calibration text")  //
        ("repair-windows", po::value(&calibration.windows)->value_name("W"),
         "windows to fit on (default 24)");
    po::options_description output("Output");
    output.add_options()                                                            //
        ("out,o", po::value(&out)->value_name("FILE"), "the plan; -: to stdout")    //
        ("plot", po::value(&plot)->value_name("FILE.svg"), "latency against loss")  //
        ("check-latency", po::bool_switch(&check_latency),
         "time every sync full, the plan and no syncs in turn, and compare with the prediction")  //
        ("tau1", po::value(&tau1)->value_name("NATS")->notifier(not_negative("--tau1")),
         "blocks whose attn sync costs at most this are in-sensitive (default: budget / blocks)")  //
        ("tau2", po::value(&tau2)->value_name("NATS")->notifier(not_negative("--tau2")),
         "beyond this, extremely sensitive (default: budget)");
    po::options_description all;
    all.add(input)
        .add(work)
        .add(held)
        .add(repairs)
        .add(output)
        .add(common.describe())
        .add(start.describe());
    files = parse_arguments(all, arguments, kUsage, kExamples);
    sums_up = parse_sensitivity_form(form);
    workload.step_tokens = common.engine.batch_tokens;
    if (workload.prompt < 1 || workload.generate < 1 || workload.batch < 1 || held_out.window < 2 ||
        held_out.windows < 0 || held_out.skip < 0 || held_out.trials < 1 ||
        workload.step_tokens < 1) {
      throw Error(ErrorCode::usage, "a count is too small", "see spd plan --help");
    }
    if (!(held_out.confidence >= 0.5 && held_out.confidence < 1.0)) {
      throw Error(ErrorCode::usage, fmt::format("--confidence {}", held_out.confidence),
                  "give a probability from 0.5 to below 1, such as 0.95");
    }
    calibration.window = held_out.window;
    const EngineOptions& engine = common.engine;
    const bool chosen = !engine.plan.empty() || !engine.drop.empty() || !engine.node.empty();
    if (calibration.windows < 1) {
      throw Error(ErrorCode::usage,
                  fmt::format("--repair-windows {} is less than 1", calibration.windows),
                  "leave it at its default");
    }
    if (!repair.empty() && (out.empty() || chosen)) {
      throw Error(ErrorCode::usage, "--repair needs --out, and no plan to begin with",
                  "it repairs each plan that is tried from scratch");
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
    if (end == 0 || !(value >= 0.0) || !std::isfinite(value) || (unit != "%" && !unit.empty())) {
      throw Error(ErrorCode::usage, fmt::format("--max-loss {}: not a loss", max_loss),
                  "write nats (0.02) or percent of perplexity (1%)");
    }
    return unit == "%" ? std::log1p(value / 100.0) : value;
  }
};

// Sensitivities, if they are this model's, this allocation's and, unless repairs are to be fitted
// anew, this partition's.
SensitivityTable load_sensitivity(const std::string& file, const Options& options, Engine& engine) {
  SensitivityTable table = SensitivityTable::load(file);
  if (!table.complete() && engine.context().root()) {
    fmt::print(stderr, "spd: {} is not complete: planning with what there is\n", file);
  }
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::input, fmt::format("{}: {}", file, why),
                "measure them with spd sensitivity for this model, ranks and --plan");
  };
  const JsonObject header = JsonObject::of(table.header, file);
  if (header.object("model").string("fingerprint") != fingerprint(engine.config())) {
    refuse("is of another model");
  }
  table.check_blocks(engine.config().blocks);
  if (const auto tp = header.integer("tp", 1); tp != engine.context().ranks()) {
    refuse(fmt::format("was measured on {} ranks, these are {}", tp, engine.context().ranks()));
  }
  // What a drop or a wire format costs does not depend on who shares a node; `node` does.
  if (header.integers("ranks_per_node", 1) != engine.context().comms.topology.ranks_per_node()) {
    std::erase_if(table.entries, [](const auto& item) { return item.level == SyncLevel::node; });
  }
  if (!options.repair.empty()) return table;
  const JsonObject plan = JsonObject::of(engine.plan().to_json(engine.config()), "the plan");
  const JsonObject theirs = header.object("plan");
  if (theirs.raw("partition") != plan.raw("partition")) refuse("was measured on another partition");
  const auto hash = [](const JsonObject& json) {
    return json.has("repair") ? json.object("repair").string("hash") : "none";
  };
  if (hash(theirs) != hash(plan)) {
    refuse(fmt::format("was measured with repair {}, --plan has {}", hash(theirs), hash(plan)));
  }
  return table;
}

LinkModel load_links(const Options& options, const Topology& topology, std::string& machine) {
  const TopologyFile file = TopologyFile::load(options.topology);
  machine = file.machine;
  if (topology.ranks() > 1 && file.links.curves().empty()) {
    throw Error(ErrorCode::input, fmt::format("{}: has no all-reduce times", options.topology),
                "measure them where the model is to run: mpirun -n R spd topo --json FILE; virtual "
                "ranks, and one rank alone, have none");
  }
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

// What held-out losses depend on besides the text.
std::string setting_of(const Engine& engine) {
  const SyncPlan& plan = engine.plan();
  const EngineOptions& options = engine.options();
  return fmt::format(
      "model {} nodes {} partition {} repair {} kv {} exact {}", plan.fingerprint,
      nlohmann::json(plan.ranks_per_node).dump(), hash_text(plan.partition.to_json().dump()),
      plan.repair ? plan.repair->hash : "none", name(options.kv_dtype), options.exact);
}

}  // namespace

void run_plan(RankContext& context, const std::vector<std::string>& arguments) {
  Options options;
  options.parse(arguments);
  const double budget = options.budget();
  check_apart(context, options.files);
  const OutputFile out =
      open_output(context, "--out", options.out,
                  options.repair.empty() ? OutputKind::any : OutputKind::regular);
  const OutputFile results = open_output(context, "--json", options.common.json);
  const OutputFile plot = open_output(context, "--plot", options.plot);
  // Beside a device there is nowhere to keep what was measured.
  if (out && out.is_replaced()) options.held_out.file = options.out + ".trials";
  PlanReport report;
  LinkModel links;
  agree(context.comms, "reading the topology",
        [&] { links = load_links(options, context.comms.topology, report.machine); });
  const std::int64_t length =
      std::max(options.held_out.window, options.workload.prompt + options.workload.generate);
  std::vector<std::int32_t> text;
  if (!options.text.empty()) {
    text = read_token_ids(context, options.common.engine.model, options.text);
  }
  Engine engine(context, options.common.engine, length);
  std::vector<std::int32_t> repair_text;
  std::optional<TrialRepairs> repairs;
  if (!options.repair.empty()) {
    repair_text = read_token_ids(context, options.common.engine.model, options.repair);
    repairs.emplace(context, options.common.engine, repair_text, options.calibration,
                    options.out + ".repairs");
  }
  std::optional<PlanJudge> held_out;
  if (!text.empty()) {
    held_out.emplace(context.comms, text, options.held_out,
                     setting_of(engine) + (repairs ? repairs->setting() : ""));
  }
  // Calls use(engine) with one that has the levels' repairs.
  const auto with_repairs = [&](const SyncLevels& levels, const auto& use) {
    if (!repairs) return use(engine);
    EngineOptions repaired = options.common.engine;
    repaired.plan = repairs->plan_for(levels);
    Engine other(context, repaired, length);
    return use(other);
  };
  const auto joint_loss_of = [&](const SyncLevels& levels, double most) {
    return with_repairs(levels,
                        [&](Engine& with) { return held_out->measure(with, levels, most); });
  };
  std::vector<SensitivityTable> tables;
  agree(context.comms, "reading the sensitivities", [&] {
    for (const std::string& file : options.sensitivity) {
      tables.push_back(load_sensitivity(file, options, engine));
    }
  });
  const PhaseTimes compute = time_computing(
      engine, options.workload, {options.prefill_compute_ms * 1e3, options.decode_compute_ms * 1e3},
      "what earlier runs measured stays as it was", "the same command begins anew");
  std::optional<Planner> made;
  agree(context.comms, "weighing the choices", [&] {
    made.emplace(engine.config(), links, options.workload, tables, options.sums_up, compute);
  });
  const Planner& planner = *made;

  if (held_out) held_out->measure_full(engine);
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
    if (held_out) {
      const double no_limit = std::numeric_limits<double>::infinity();
      report.trials.push_back(
          {solution.loss, solution, joint_loss_of(planner.levels(solution), no_limit)});
    }
  } else if (held_out) {
    report.trials = planner.hold_budget(
        budget, options.held_out.trials,
        [&](const SyncLevels& levels) { return joint_loss_of(levels, budget); });
    solution = report.trials.back().solution;
  } else {
    solution = planner.within_loss(budget);
  }
  report.judged_by = held_out ? &*held_out : nullptr;

  report.budget = options.max_loss.empty() ? solution.loss : budget;
  report.thresholds.tau1 = options.tau1 >= 0.0
                               ? options.tau1
                               : report.budget / static_cast<double>(engine.config().blocks);
  report.thresholds.tau2 = options.tau2 >= 0.0 ? options.tau2 : report.budget;
  report.virtual_compute = context.is_virtual && options.prefill_compute_ms < 0.0;
  const SyncLevels levels = planner.levels(solution);
  if (options.check_latency) {
    with_repairs(levels, [&](Engine& with) {
      report.checked = check_latency(with, levels, options.workload,
                                     held_out ? held_out->kept() : "nothing was kept",
                                     held_out ? held_out->how_to_go_on() : "repeat the command");
    });
  }

  SyncPlan plan = repairs ? repairs->plan_of(levels) : engine.plan();
  plan.levels = levels;
  const nlohmann::json more = to_json(planner, solution, report);
  if (context.root()) {
    print_report(planner, solution, report);
    if (levels == SyncLevels::all_full(engine.config().blocks)) {
      say("\nno sync is left out: the plan is every sync full\n");
    }
  }
  if (out) {
    agree(context.comms, "writing the plan", [&] {
      if (context.root()) say("\nwritten: {}\n", write_plan(out, plan, engine.config(), more));
    });
  }
  nlohmann::json json = plan.to_json(engine.config(), out.place().parent_path());
  json.update(more);
  const std::string kept = out ? fmt::format("the plan, in {}", options.out) : "";
  write_json(context, results, json, kept);
  write_output(context, plot, to_svg(plot_of(planner, solution, report)), kept);
  if (!context.root()) return;
  std::error_code ignored;
  if (held_out) std::filesystem::remove(options.held_out.file, ignored);
  if (repairs) repairs->remove();
}

}  // namespace spd
