// spd repair: makes up for the syncs that a plan leaves out, without training.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <set>

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
    R"(spd repair: makes up for the syncs that a plan leaves out, by closed-form fits on text and,
where asked for, by training.

  mpirun -n R spd repair --model DIR --text FILE --drop SEL|--plan FILE --out PLAN [options])";
constexpr const char* kExamples =
    R"(Methods, each kept only where text that was not fitted to says that it helps:
  grouping    query heads are spread so that what a rank lacks resembles what it has (ESB)
  prediction  what a rank's view lacks is predicted from what it has, at rank k
  placement   MLP neurons go to the rank whose view drives them best
  refit       the MLP's output weights are regressed on what the block's output still lacks
  distillation  (not by default: minutes) then trains block by block, on windows behind those
              of the fits, to make the stream that the model with every sync makes. The
              repaired plan is written before, so that nothing is lost by an interruption: go
              on from it with spd distill, which has more ways to train
Classes, by the relative error of the block's output with nothing repaired: up to --tau1 ISB
(dropped as it is), up to --tau2 SB (repaired), above ESB (heads grouped, too).
An interrupted run goes on where it was when repeated. A plan that leaves out no sync passes
through.

Examples:
  mpirun -n 3 spd repair -m DIR --text valid.txt --drop attn:all --out repaired.json
  mpirun -n 3 spd eval   -m DIR --text test.txt --plan repaired.json
  spd repair -m DIR --text valid.txt --virtual-ranks 8 --virtual-nodes 2 --plan plan.json \
      --methods prediction --out repaired.json
)";

enum class Method : std::uint8_t { grouping, placement, prediction, refit, distillation };

Choices<Method> known_methods() {
  return {{"grouping", Method::grouping},
          {"placement", Method::placement},
          {"prediction", Method::prediction},
          {"refit", Method::refit},
          {"distillation", Method::distillation}};
}

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
  std::vector<Method> methods = {Method::grouping, Method::placement, Method::prediction,
                                 Method::refit};

  void parse(const std::vector<std::string>& arguments) {
    OptionTable table;
    add_to(table);
    common.add_to(table);
    start.add_to(table);
    distill.training.epochs = 1;
    files = parse_arguments(table, arguments, kUsage, kExamples);
    distill.set.window = calibration.window;
    if (calibration.window > common.engine.batch_tokens) {
      throw Error(ErrorCode::usage,
                  fmt::format("--window {} is longer than a prefill step of {} tokens",
                              calibration.window, common.engine.batch_tokens),
                  "raise --batch-tokens");
    }
    std::sort(run.block.ks.begin(), run.block.ks.end());
    choose_methods();
    run.partial = out + ".partial";
  }

 private:
  void add_to(OptionTable& table) {
    BlockRepairOptions& block = run.block;
    OptionGroup group = table.group("Repair");
    group.require("text", "FILE", &text, "UTF-8 calibration text; -: stdin");
    group.require("out", "FILE", &out,
                  R"(plan to write, which may be that of --plan; its repairs go beside it, for
                  p.json as p.HASH.safetensors)");
    group.add("methods", "LIST", &methods, known_methods(), "methods of repair");
    group.add("ks", "LIST", &run.block.ks, at_least(1).and_at_most(4096),
              "ranks of predictions to choose among, beside none and the mean");
    group.add("window", "N", &calibration.window, at_least(2), "tokens of a window");
    group.add("windows", "W", &calibration.windows, at_least(1), "windows to fit on");
    group.add("held-out", "W", &calibration.held_out, at_least(1),
              "windows behind those, to choose by");
    group.add("ridge", "X", &block.ridge, above(0),
              "of predictions, as a share of the features' mean variance");
    group.add("refit-ridge", "X", &block.refit_ridge, above(0), "the same of refitted weights");
    group.add("tau1", "X", &block.thresholds.tau1, at_least(0),
              "relative error above which a block is repaired");
    group.add("tau2", "X", &block.thresholds.tau2, at_least(0),
              "relative error above which its heads are grouped, too");
    group.add("worth", "X", &block.worth, any_number(),
              "share of the error that a next larger k must take away");
    group.add("distill-windows", "W", &distill.set.windows, at_least(1),
              "windows to train on in distillation");
    group.add("distill-rate", "R", &distill.training.rate, above(0), "Adam's rate in distillation");
    group.add("kv-copies", "N", &block.heads.kv_copies, at_least(0),
              "KV heads that grouping may add to a rank");
  }

  void choose_methods() {
    const auto chosen = [this](Method method) {
      return std::find(methods.begin(), methods.end(), method) != methods.end();
    };
    run.block.grouping = chosen(Method::grouping);
    run.block.placement = chosen(Method::placement);
    run.block.prediction = chosen(Method::prediction);
    run.block.refit = chosen(Method::refit);
    distillation = chosen(Method::distillation);
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
  json["methods"] = known_methods().names_of(options.methods);
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
