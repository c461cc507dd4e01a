// spd repair: makes up for the syncs that a plan leaves out, without training.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <set>

#include "kernels/device/comma_list.h"
#include "kernels/device/error.h"
#include "runtime/commands/command.h"
#include "runtime/distillation/distillation.h"
#include "runtime/inference/text_input.h"
#include "runtime/job/agreed_error.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/progress.h"
#include "runtime/repair/gather.h"
#include "runtime/repair/plan_output.h"
#include "runtime/repair/plan_repair.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    "spd repair: makes up for the syncs that a plan leaves out, by closed-form fits on text and,\n"
    "where asked for, by training.\n\n"
    "  mpirun -n R spd repair --model DIR --text FILE --drop SEL|--plan FILE --out PLAN [options]";
constexpr const char* kExamples =
    "Methods, each kept only where text that was not fitted to says that it helps:\n"
    "  grouping    query heads are spread so that what a rank lacks resembles what it has (ESB)\n"
    "  prediction  what a rank's view lacks is predicted from what it has, at rank k\n"
    "  placement   MLP neurons go to the rank whose view drives them best\n"
    "  refit       the MLP's output weights are regressed on what the block's output still lacks\n"
    "  distillation  (not by default: minutes) then trains block by block, on windows behind "
    "those\n"
    "              of the fits, to make the stream that the model with every sync makes. The\n"
    "              repaired plan is written before, so that nothing is lost by an interruption: "
    "go\n"
    "              on from it with spd distill, which has more ways to train\n"
    "Classes, by the relative error of the block's output with nothing repaired: up to --tau1 ISB\n"
    "(dropped as it is), up to --tau2 SB (repaired), above ESB (heads grouped, too).\n"
    "An interrupted run goes on where it was when repeated. A plan that leaves out no sync passes\n"
    "through.\n\n"
    "Examples:\n"
    "  mpirun -n 3 spd repair -m DIR --text valid.txt --drop attn:all --out repaired.json\n"
    "  mpirun -n 3 spd eval   -m DIR --text test.txt --plan repaired.json\n"
    "  spd repair -m DIR --text valid.txt --virtual-ranks 8 --virtual-nodes 2 --plan plan.json \\\n"
    "      --methods prediction --out repaired.json\n";

struct RepairOptions {
  CommonOptions common;
  StartOptions start;
  NamedFiles files;
  CalibrationOptions calibration;
  RepairRunOptions run;
  DistillOptions distill;
  bool distillation = false;
  std::string text;
  std::string out;
  std::string methods = "grouping,placement,prediction,refit";
  std::string ks = "16,32,64";

  void parse(const std::vector<std::string>& arguments) {
    BlockRepairOptions& block = run.block;
    po::options_description input("Repair");
    input.add_options()  //
        ("text", po::value(&text)->value_name("FILE")->required(),
         "UTF-8 calibration text; -: stdin")  //
        ("out", po::value(&out)->value_name("FILE")->required(),
         "plan to write, which may be that of --plan; its repairs go beside it, for p.json as "
         "p.HASH.safetensors")  //
        ("methods", po::value(&methods)->value_name("LIST"),
         "of grouping, placement, prediction, refit, distillation (default: the first four)")  //
        ("ks", po::value(&ks)->value_name("LIST"),
         "ranks of predictions to choose among, beside none and the mean (default 16,32,64)")  //
        ("window", po::value(&calibration.window)->value_name("N"),
         "tokens of a window (default 512)")  //
        ("windows", po::value(&calibration.windows)->value_name("W"),
         "windows to fit on (default 24)")  //
        ("held-out", po::value(&calibration.held_out)->value_name("W"),
         "windows behind those, to choose by (default 4)")  //
        ("ridge", po::value(&block.ridge)->value_name("X"),
         "of predictions, as a share of the features' mean variance (default 0.1)")  //
        ("refit-ridge", po::value(&block.refit_ridge)->value_name("X"),
         "the same of refitted weights (default 0.1)")  //
        ("tau1", po::value(&block.thresholds.tau1)->value_name("X"),
         "relative error above which a block is repaired (default 0.0005)")  //
        ("tau2", po::value(&block.thresholds.tau2)->value_name("X"),
         "relative error above which its heads are grouped, too (default 0.05)")  //
        ("worth", po::value(&block.worth)->value_name("X"),
         "share of the error that a next larger k must take away (default 0.02)")  //
        ("distill-windows", po::value(&distill.set.windows)->value_name("W"),
         "windows to train on in distillation (default 48)")  //
        ("distill-rate", po::value(&distill.training.rate)->value_name("R"),
         "Adam's rate in distillation (default 2e-4)")  //
        ("kv-copies", po::value(&block.heads.kv_copies)->value_name("N"),
         "KV heads that grouping may add to a rank (default 0)");
    po::options_description all;
    all.add(input).add(common.describe()).add(start.describe());
    distill.training.epochs = 1;
    files = parse_arguments(all, arguments, kUsage, kExamples);
    distill.set.window = calibration.window;
    if (distill.set.windows < 1 || !(distill.training.rate > 0.0f)) {
      throw Error(ErrorCode::usage, "--distill-windows and --distill-rate must be positive",
                  "leave them at their defaults");
    }
    if (calibration.window < 2 || calibration.windows < 1 || calibration.held_out < 1) {
      throw Error(ErrorCode::usage,
                  "--window must be at least 2, --windows and --held-out at least 1",
                  "leave them at their defaults");
    }
    if (calibration.window > common.engine.batch_tokens) {
      throw Error(ErrorCode::usage,
                  fmt::format("--window {} is longer than a prefill step of {} tokens",
                              calibration.window, common.engine.batch_tokens),
                  "raise --batch-tokens");
    }
    if (!(block.ridge > 0.0) || !(block.refit_ridge > 0.0)) {
      throw Error(ErrorCode::usage, "--ridge and --refit-ridge must be positive", "use e.g. 0.1");
    }
    parse_methods();
    parse_ks();
    run.partial = out + ".partial";
  }

 private:
  void parse_methods() {
    BlockRepairOptions& block = run.block;
    block.grouping = block.placement = block.prediction = block.refit = false;
    for (const std::string_view method : split_commas(methods)) {
      if (method == "grouping") {
        block.grouping = true;
      } else if (method == "placement") {
        block.placement = true;
      } else if (method == "prediction") {
        block.prediction = true;
      } else if (method == "refit") {
        block.refit = true;
      } else if (method == "distillation") {
        distillation = true;
      } else {
        throw Error(ErrorCode::usage, fmt::format("--methods: unknown method \"{}\"", method),
                    "use grouping, placement, prediction, refit, distillation");
      }
    }
  }

  void parse_ks() {
    run.block.ks.clear();
    for (const std::string_view item : split_commas(ks)) {
      std::int64_t k = 0;
      const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), k);
      if (error != std::errc() || end != item.data() + item.size() || k < 1 || k > 4096) {
        throw Error(ErrorCode::usage, fmt::format("--ks: \"{}\" is not a rank", item),
                    "give numbers such as 16,32,64");
      }
      run.block.ks.push_back(k);
    }
    std::sort(run.block.ks.begin(), run.block.ks.end());
  }
};

void check_plan(const SyncPlan& plan) {
  if (plan.repair) {
    throw AgreedError(ErrorCode::usage, "the plan has been repaired already",
                      "repair the plan that it was made from, or train on top with spd distill");
  }
}

// That there is enough for the distillation, too, before minutes are spent on the rest.
void check_text(const std::vector<std::int32_t>& tokens, const RepairOptions& options) {
  if (!options.distillation) return;
  const std::int64_t windows =
      options.calibration.windows + options.calibration.held_out + options.distill.set.all();
  const std::int64_t needed = windows * options.calibration.window;
  if (static_cast<std::int64_t>(tokens.size()) >= needed) return;
  throw AgreedError(
      ErrorCode::input,
      fmt::format("the calibration text has {} tokens; {} windows of {}, those of the distillation "
                  "included, need {}",
                  tokens.size(), windows, options.calibration.window, needed),
      "give a longer text, or lower --windows or --distill-windows");
}

void print_table(const RepairRun& run) {
  say("{:>5}  {:<5} {:<5} {:<5}  {:>10}  {:>10}  {}\n", "block", "point", "level", "class",
      "before", "after", "method");
  for (const BlockOutcome& outcome : run.blocks) {
    for (const PointOutcome& point : outcome.points) {
      say("{:>5}  {:<5} {:<5} {:<5}  {:>10.6f}  {:>10.6f}  {}\n", outcome.block, name(point.point),
          name(point.level), name(point.block_class), point.before(), point.after(),
          point.methods());
    }
  }
  say("before, after: mean over held-out tokens of |out - full|^2 / |full|^2\n");
}

// Trains on the windows behind those that were calibrated on; `run` receives what is learnt.
std::vector<DistilledBlocks> distill(Engine& engine, const std::vector<std::int32_t>& tokens,
                                     const RepairOptions& options, RepairRun& run) {
  const RankContext& context = engine.context();
  const std::int64_t used =
      (options.calibration.windows + options.calibration.held_out) * options.calibration.window;
  std::set<std::int64_t> blocks;
  for (const BlockOutcome& outcome : run.blocks) blocks.insert(outcome.block);
  RankRepair mine = run.ranks.at(context.rank());
  std::optional<Progress> bar;
  SafePoints points(context.comms, engine.stream());
  const auto safe_point = [&] {
    const auto why = points.behind_step();
    if (!why) return;
    bar.reset();
    stop(*why, fmt::format("kept: the plan as it was repaired, in {}", options.out),
         "spd distill goes on from it");
  };
  const DistillProgress progress{
      .step =
          [&](std::int64_t done, std::int64_t of, const std::string& note) {
            if (!bar) bar.emplace("windows", of, context.root());
            bar->update(done, note);
            safe_point();
          },
      .safe_point = safe_point};
  const auto results = distill_blocks(engine, {tokens.begin() + used, tokens.end()},
                                      options.distill, blocks, mine, progress);
  run.ranks = gather_repairs(mine, context.comms, engine.stream());
  return results;
}

nlohmann::json to_json(const std::vector<DistilledBlocks>& results, const WindowSet& set) {
  nlohmann::json json{{"windows", set.windows}, {"held_out_windows", set.held_out}};
  double seconds = 0.0;
  for (const DistilledBlocks& blocks : results) {
    seconds += blocks.seconds;
    json["blocks"].push_back({{"first_block", blocks.first},
                              {"last_block", blocks.last - 1},
                              {"held_out_loss_before", blocks.training.before},
                              {"held_out_loss_after", blocks.rounded}});
  }
  json["seconds"] = seconds;
  return json;
}

}  // namespace

void run_repair(RankContext& context, const std::vector<std::string>& arguments) {
  RepairOptions options;
  options.parse(arguments);
  check_apart(context, options.files, PlanInPlace::yes);
  const OutputFile out = open_output(context, "--out", options.out, OutputKind::regular);
  const OutputFile results = open_output(context, "--json", options.common.json);
  const auto tokens = read_token_ids(context, options.common.engine.model, options.text);
  Engine engine(context, options.common.engine, options.calibration.window);
  if (!engine.plan().levels.leaves_out()) {
    return pass_through(context, engine, "repair", out, results);
  }
  check_plan(engine.plan());
  check_text(tokens, options);

  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  std::optional<Progress> bar;
  SafePoints points(context.comms, engine.stream());
  options.run.safe_point = [&] {
    const auto why = points.behind_long_step();
    if (!why) return;
    bar.reset();
    stop(*why, fmt::format("kept: the blocks that are done, in {}", options.run.partial.string()),
         "the same command goes on from there");
  };
  RepairRun run = repair_plan(engine, tokens, options.calibration, options.run,
                              [&](std::int64_t done, std::int64_t of) {
                                if (!bar) bar.emplace("blocks", of, context.root());
                                bar->update(done);
                              });
  bar.reset();
  nlohmann::json json = result_header("repair", engine);
  json["text"] = options.text;
  json["window_tokens"] = options.calibration.window;
  json["windows"] = options.calibration.windows;
  json["held_out_windows"] = options.calibration.held_out;
  json["methods"] = options.methods;
  json["seconds"] = seconds();
  json["blocks"] = nlohmann::json::array();
  for (const BlockOutcome& outcome : run.blocks) json["blocks"].push_back(to_json(outcome));
  std::string written =
      write_repaired_plan(context, engine, run.ranks, out,
                          options.distillation ? PlanState::under_way : PlanState::done);
  // The plan has all of it now.
  remove_partial(context, options.run);
  if (context.root()) {
    print_table(run);
    say("wrote {} in {:.1f} s\n", written, seconds());
  }
  if (options.distillation) {
    json["distillation"] = to_json(distill(engine, tokens, options, run), options.distill.set);
    written = write_repaired_plan(context, engine, run.ranks, out);
    if (context.root()) {
      say("distilled in {:.1f} s; wrote {}\n", json["distillation"]["seconds"].get<double>(),
          written);
    }
  }
  write_json(context, results, json, written);
}

}  // namespace spd
