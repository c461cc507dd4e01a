// spd distill: trains the blocks whose syncs a plan leaves out to do what they did with them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <set>

#include "kernels/device/error.h"
#include "model/hash.h"
#include "runtime/commands/command.h"
#include "runtime/distillation/distill_checkpoint.h"
#include "runtime/distillation/distillation.h"
#include "runtime/inference/text_input.h"
#include "runtime/job/agreed_error.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/progress.h"
#include "runtime/repair/plan_output.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    R"(spd distill: trains the blocks whose syncs a plan leaves out to do what they did with all of
them, on a calibration text. Each rank trains its own shard.

  mpirun -n R spd distill --model DIR --plan PLAN --text FILE --out PLAN2 [options])";
constexpr const char* kExamples =
    R"(Blocks are trained one after the other, each to turn the stream that the blocks before it make
into the one that the model with every sync makes (mean squared error), or, with --input
teacher, on the latter model's own streams, which blocks can do without each other: runs may
share the blocks (--blocks) and --merge each other's results. --logits N then trains all blocks
together for N epochs on the divergence of the next token's distribution.
The first windows of the text are trained on, the ones behind them decide when to stop. What was
done before an interruption is in PLAN2 (written as often as a twentieth of the time allows;
how far the training on the logits got, in PLAN2.progress): the same command with --resume
goes on from there. A plan that leaves out no sync passes through.

Examples:
  spd distill -m DIR --virtual-ranks 2 --plan repaired.json --text valid.txt --out taught.json
  spd distill -m DIR --virtual-ranks 2 --drop attn:all --text valid.txt --out taught.json
  mpirun -n 2 spd distill -m DIR --plan repaired.json --text valid.txt --out taught.json \
      --epochs 0 --logits 1 --logits-rate 3e-5
)";

enum class Part : std::uint8_t { attention, mlp, norms, prediction };

Choices<RateSchedule> schedules() {
  return {{"cosine", RateSchedule::cosine}, {"constant", RateSchedule::constant}};
}

struct DistillCommand {
  CommonOptions common;
  StartOptions start;
  NamedFiles files;
  DistillOptions distill;
  std::string text, out, blocks = "all";
  std::vector<std::string> merge;
  std::vector<Part> train = {Part::attention, Part::mlp, Part::norms, Part::prediction};
  std::int64_t tokens = 24'576, held_out = 2'048, skip_windows = 0;
  std::int64_t logits_epochs = 0;
  float logits_rate = 3e-5f;
  bool resume = false;

  void parse(const std::vector<std::string>& arguments) {
    OptionTable table;
    add_work(table.group("Work"));
    add_training(table.group("Training"));
    common.add_to(table);
    start.add_to(table);
    files = parse_arguments(table, arguments, kUsage, kExamples);
    check();
  }

 private:
  void add_work(OptionGroup group) {
    group.require("text", "FILE", &text, "UTF-8 calibration text; -: stdin");
    group.require("out", "PLAN", &out,
                  R"(plan to write, which may be that of --plan; its repairs go beside it, for
                  p.json as p.HASH.safetensors)");
    group.add("blocks", "LIST", &blocks, "blocks to train, e.g. 0-4,29",
              "all that leave out a sync");
    group.add("merge", "PLAN", &merge,
              "take trained blocks from another run's plan; may be repeated");
    group.flag("resume", &resume, "keep what --out already holds");
  }

  void add_training(OptionGroup group) {
    TrainingOptions& training = distill.training;
    group.add("tokens", "N", &tokens, at_least(2), "to train on");
    group.add("held-out", "N", &held_out, at_least(2), "to stop by");
    group.add("skip-windows", "W", &skip_windows, at_least(0),
              R"(windows to leave out at the text's beginning: those that spd repair fitted to say
              little about its errors elsewhere)");
    group.add("window", "N", &distill.set.window, at_least(2), "of tokens");
    group.add("epochs", "N", &training.epochs, at_least(0), "block by block");
    group.add("rate", "R", &training.rate, above(0), "Adam's");
    group.add("schedule", "S", &training.schedule, schedules(), "of the rate");
    group.add("batch", "W", &training.batch, at_least(1), "windows a step");
    group.add("clip", "L", &training.clip, at_least(0), "longest gradient, 0: no limit");
    group.add("patience", "N", &training.patience, at_least(1),
              "epochs without progress before stopping");
    group.add("seed", "N", &training.seed, any_number(), "of the windows' order");
    group.add(
        "input", "I", &distill.input,
        one_of<StudentInput>({{"own", StudentInput::own}, {"teacher", StudentInput::teacher}}),
        "what a block learns on: own stream or teacher's");
    group.flag("plain", &distill.relative, false,
               "plain squared error (default: log(1 + error relative to the token's size))");
    group.add("train", "PART", &train,
              one_of<Part>({{"attention", Part::attention},
                            {"mlp", Part::mlp},
                            {"norms", Part::norms},
                            {"prediction", Part::prediction}}),
              "attention, mlp, norms, prediction: only these; may be repeated");
    group.add("logits", "N", &logits_epochs, at_least(0),
              "epochs of all blocks together on the logits");
    group.add("logits-rate", "R", &logits_rate, above(0), "Adam's there");
    group.add("products", "P", &distill.products,
              one_of<MatmulMode>({{"bf16", MatmulMode::bf16_tiles}, {"f32", MatmulMode::f32}}),
              R"(bf16, where the processor multiplies it (about twice as fast), rounds what is
              multiplied and sums in f32; weights, gradients and Adam stay f32. f32: nothing is
              rounded in the trained blocks, nor anywhere else with --exact)");
  }

  void check() {
    WindowSet& set = distill.set;
    set.windows = tokens / set.window;
    set.held_out = held_out / set.window;
    if (set.windows < 1 || set.held_out < 1) {
      throw Error(ErrorCode::usage,
                  fmt::format("{} {} is less than a --window of {} tokens",
                              set.windows < 1 ? "--tokens" : "--held-out",
                              set.windows < 1 ? tokens : held_out, set.window),
                  "give more tokens");
    }
    const auto trains = [this](Part part) {
      return std::find(train.begin(), train.end(), part) != train.end();
    };
    distill.parts = {trains(Part::attention), trains(Part::mlp), trains(Part::norms),
                     trains(Part::prediction)};
    common.engine.batch_tokens = std::max(common.engine.batch_tokens, set.window);
  }
};

// What --blocks chooses; the same on all ranks, as are the errors.
std::set<std::int64_t> chosen_blocks(const std::string& text, const SyncLevels& levels) {
  const std::set<std::int64_t> all = blocks_that_leave_out_syncs(levels);
  if (text == "all") return all;
  std::set<std::int64_t> blocks = select_blocks("--blocks", text, levels.blocks());
  for (const std::int64_t block : blocks) {
    if (all.contains(block)) continue;
    throw Error(ErrorCode::usage,
                fmt::format("--blocks {}: block {} leaves out no sync", text, block),
                fmt::format("choose among those that do: {}", fmt::join(all, ",")));
  }
  return blocks;
}

/// What the order of the windows and the rate depend on.
std::string logits_settings(const DistillCommand& command,
                            const std::vector<std::int32_t>& tokens) {
  const WindowSet& set = command.distill.set;
  const TrainingOptions& training = command.distill.training;
  return fmt::format("text {} windows {} {} {} epochs {} rate {} {} batch {} seed {}",
                     hash_ids(tokens), set.window, set.windows, set.held_out, command.logits_epochs,
                     command.logits_rate, schedules().name_of(training.schedule), training.batch,
                     training.seed);
}

std::string describe(const DistilledBlocks& blocks) {
  return blocks.last - blocks.first == 1 ? fmt::format("{}", blocks.first)
                                         : fmt::format("{}-{}", blocks.first, blocks.last - 1);
}

void print_row(const DistilledBlocks& blocks) {
  const TrainingResult& training = blocks.training;
  say("{:<10} {:>12.6f} {:>12.6f} {:>12.6f} {:>6} of {:<3} {:>8.1f}\n", describe(blocks),
      training.before, training.after, blocks.rounded, training.best_epoch, training.epochs,
      blocks.seconds);
}

nlohmann::json to_json(const DistilledBlocks& blocks) {
  const TrainingResult& training = blocks.training;
  return {{"first_block", blocks.first},
          {"last_block", blocks.last - 1},
          {"held_out_loss_before", training.before},
          {"held_out_loss_after", training.after},
          {"held_out_loss_rounded", blocks.rounded},
          {"training_loss_by_epoch", training.training_loss},
          {"held_out_loss_by_epoch", training.held_out_loss},
          {"best_epoch", training.best_epoch},
          {"steps", training.steps},
          {"seconds", blocks.seconds}};
}

}  // namespace

void run_distill(RankContext& context, const std::vector<std::string>& arguments) {
  DistillCommand command;
  command.parse(arguments);
  check_apart(context, command.files, PlanInPlace::yes);
  OutputFile out = open_output(context, "--out", command.out, OutputKind::regular);
  const OutputFile results_file = open_output(context, "--json", command.common.json);
  auto tokens = read_token_ids(context, command.common.engine.model, command.text);
  const std::int64_t skipped = command.skip_windows * command.distill.set.window;
  tokens.erase(tokens.begin(),
               tokens.begin() + std::min(skipped, static_cast<std::int64_t>(tokens.size())));
  Engine engine(context, command.common.engine, command.distill.set.window);
  if (engine.plan().levels == SyncLevels::all_full(engine.config().blocks)) {
    return pass_through(context, engine, "distill", out, results_file);
  }
  std::set<std::int64_t> blocks = chosen_blocks(command.blocks, engine.plan().levels);
  DistillCheckpoint under_way(engine, {std::move(out), command.merge, command.resume});
  const std::string settings = logits_settings(command, tokens);
  std::vector<DistilledBlocks> results;
  std::optional<Progress> bar;
  bool together = false;  // on the logits: `keep` stops it
  const DistillProgress progress{
      .step =
          [&](std::int64_t done, std::int64_t of, const std::string& note) {
            if (!bar) bar.emplace("windows", of, context.root());
            bar->update(done, note);
            if (!together) under_way.stop_between();
          },
      .blocks =
          [&](const DistilledBlocks& blocks, const RankRepair& repair) {
            under_way.take(blocks.first, blocks.last, repair);
            if (context.root()) print_row(blocks);
            results.push_back(blocks);
            if (!under_way.due()) return;
            under_way.write();
            under_way.stop_if_interrupted();
          },
      .due = [&] { return under_way.due(); },
      .safe_point =
          [&] {
            if (!together) under_way.stop_between();
          },
      .keep =
          [&](std::int64_t windows, const RankRepair& repair) {
            under_way.repair = repair;
            under_way.write_progress(settings, windows);
            under_way.stop_if_interrupted();
          }};
  if (context.root()) {
    say("{:<10} {:>12} {:>12} {:>12} {:>13} {:>8}\n", "block", "before", "after", "rounded",
        "best epoch", "seconds");
  }
  RankRepair repair = under_way.repair;
  if (command.distill.training.epochs > 0) {
    std::erase_if(blocks, [&](std::int64_t block) { return under_way.trained(block); });
    distill_blocks(engine, tokens, command.distill, blocks, repair, progress);
  }
  bar.reset();
  under_way.repair = repair;
  if (command.logits_epochs > 0) {
    together = true;
    DistillOptions on_logits = command.distill;
    on_logits.training.epochs = command.logits_epochs;
    on_logits.training.rate = command.logits_rate;
    on_logits.training.done = under_way.windows_done(settings);
    if (on_logits.training.done == 0) under_way.write();
    distill_logits(engine, tokens, on_logits, repair, progress);
    bar.reset();
    under_way.repair = repair;
  }
  const std::string written = under_way.write(PlanState::done);
  under_way.remove_progress();
  if (context.root()) {
    say("\nheld-out losses: {}; of the logits in nats a token\nwritten: {}\n",
        !command.distill.relative
            ? "mean squared error of a token's stream"
            : "log(1 + squared error of a token's stream relative to its size)",
        written);
  }
  nlohmann::json json = result_header("distill", engine);
  json["blocks"] = nlohmann::json::array();
  for (const auto& result : results) json["blocks"].push_back(to_json(result));
  json["text"] = command.text;
  json["trained_tokens"] = command.distill.set.windows * command.distill.set.window;
  json["held_out_tokens"] = command.distill.set.held_out * command.distill.set.window;
  write_json(context, results_file, json, written);
}

}  // namespace spd
