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
    "spd distill: trains the blocks whose syncs a plan leaves out to do what they did with all of\n"
    "them, on a calibration text. Each rank trains its own shard.\n\n"
    "  mpirun -n R spd distill --model DIR --plan PLAN --text FILE --out PLAN2 [options]";
constexpr const char* kExamples =
    "Blocks are trained one after the other, each to turn the stream that the blocks before it "
    "make\n"
    "into the one that the model with every sync makes (mean squared error), or, with --input\n"
    "teacher, on the latter model's own streams, which blocks can do without each other: runs may\n"
    "share the blocks (--blocks) and --merge each other's results. --logits N then trains all "
    "blocks\n"
    "together for N epochs on the divergence of the next token's distribution.\n"
    "The first windows of the text are trained on, the ones behind them decide when to stop. What "
    "was\n"
    "done before an interruption is in PLAN2 (written as often as a twentieth of the time allows;\n"
    "how far the training on the logits got, in PLAN2.progress): the same command with --resume\n"
    "goes on from there. A plan that leaves out no sync passes through.\n\n"
    "Examples:\n"
    "  spd distill -m DIR --virtual-ranks 2 --plan repaired.json --text valid.txt --out "
    "taught.json\n"
    "  spd distill -m DIR --virtual-ranks 2 --drop attn:all --text valid.txt --out taught.json\n"
    "  mpirun -n 2 spd distill -m DIR --plan repaired.json --text valid.txt --out taught.json \\\n"
    "      --epochs 0 --logits 1 --logits-rate 3e-5\n";

struct DistillCommand {
  CommonOptions common;
  StartOptions start;
  NamedFiles files;
  DistillOptions distill;
  std::string text, out, blocks = "all", input = "own", schedule = "cosine", products = "bf16";
  std::vector<std::string> merge, train = {"attention", "mlp", "norms", "prediction"};
  std::int64_t tokens = 24'576, held_out = 2'048, skip_windows = 0;
  std::int64_t logits_epochs = 0;
  float logits_rate = 3e-5f;
  bool plain = false, resume = false;

  void parse(const std::vector<std::string>& arguments) {
    po::options_description work("Work");
    TrainingOptions& training = distill.training;
    work.add_options()  //
        ("text", po::value(&text)->value_name("FILE")->required(),
         "UTF-8 calibration text; -: stdin")  //
        ("out", po::value(&out)->value_name("PLAN")->required(),
         "plan to write, which may be that of --plan; its repairs go beside it, for p.json as "
         "p.HASH.safetensors")  //
        ("blocks", po::value(&blocks)->value_name("LIST"),
         "blocks to train, e.g. 0-4,29 (default all that leave out a sync)")  //
        ("merge", po::value(&merge)->value_name("PLAN")->composing(),
         "take trained blocks from another run's plan; may be repeated")  //
        ("resume", po::bool_switch(&resume), "keep what --out already holds");
    po::options_description how("Training");
    how.add_options()                                                                     //
        ("tokens", po::value(&tokens)->value_name("N"), "to train on (default 24576)")    //
        ("held-out", po::value(&held_out)->value_name("N"), "to stop by (default 2048)")  //
        ("skip-windows", po::value(&skip_windows)->value_name("W"),
         "windows to leave out at the text's beginning: those that spd repair fitted to say\n"
         "little about its errors elsewhere (default 0)")                                       //
        ("window", po::value(&distill.set.window)->value_name("N"), "of tokens (default 512)")  //
        ("epochs", po::value(&training.epochs)->value_name("N"), "block by block (default 2)")  //
        ("rate", po::value(&training.rate)->value_name("R"), "Adam's (default 2e-4)")           //
        ("schedule", po::value(&schedule)->value_name("S"), "cosine (default) or constant")     //
        ("batch", po::value(&training.batch)->value_name("W"), "windows a step (default 1)")    //
        ("clip", po::value(&training.clip)->value_name("L"),
         "longest gradient (default 0: no limit)")  //
        ("patience", po::value(&training.patience)->value_name("N"),
         "epochs without progress before stopping (default 2)")                        //
        ("seed", po::value(&training.seed)->value_name("N"), "of the windows' order")  //
        ("input", po::value(&input)->value_name("I"),
         "what a block learns on: own stream (default) or teacher's")  //
        ("plain", po::bool_switch(&plain),
         "plain squared error (default: log(1 + error relative to the token's size))")  //
        ("train", po::value(&train)->value_name("PART")->composing(),
         "attention, mlp, norms, prediction: only these; may be repeated (default all)")  //
        ("logits", po::value(&logits_epochs)->value_name("N"),
         "epochs of all blocks together on the logits (default 0)")                               //
        ("logits-rate", po::value(&logits_rate)->value_name("R"), "Adam's there (default 3e-5)")  //
        ("products", po::value(&products)->value_name("P"),
         "bf16 (default where the processor multiplies it: about twice as fast) rounds what is\n"
         "multiplied and sums in f32; weights, gradients and Adam stay f32. f32: nothing is "
         "rounded\n"
         "in the trained blocks, nor anywhere else with --exact");
    po::options_description all;
    all.add(work).add(how).add(common.describe()).add(start.describe());
    files = parse_arguments(all, arguments, kUsage, kExamples);
    check();
  }

 private:
  void check() {
    const auto refuse = [](const std::string& what, const std::string& remedy) {
      throw Error(ErrorCode::usage, what, remedy);
    };
    WindowSet& set = distill.set;
    if (set.window < 2) refuse("--window is less than 2", "use e.g. 512");
    set.windows = tokens / set.window;
    set.held_out = held_out / set.window;
    if (skip_windows < 0) refuse("--skip-windows is negative", "use 0 or more");
    if (set.windows < 1 || set.held_out < 1) {
      refuse("--tokens and --held-out must each hold a --window", "give more tokens");
    }
    const TrainingOptions& training = distill.training;
    if (training.epochs < 0 || logits_epochs < 0 || training.batch < 1 || training.patience < 1) {
      refuse("--epochs and --logits must be at least 0, --batch and --patience at least 1", "");
    }
    if (!(training.rate > 0.0f) || !(logits_rate > 0.0f)) refuse("a rate is not above 0", "");
    if (schedule != "cosine" && schedule != "constant") {
      refuse(fmt::format("--schedule {}: unknown", schedule), "use cosine or constant");
    }
    if (input != "own" && input != "teacher") {
      refuse(fmt::format("--input {}: unknown", input), "use own or teacher");
    }
    if (products != "bf16" && products != "f32") {
      refuse(fmt::format("--products {}: unknown", products), "use bf16 or f32");
    }
    distill.products = products == "bf16" ? MatmulMode::bf16_tiles : MatmulMode::f32;
    distill.training.schedule =
        schedule == "cosine" ? RateSchedule::cosine : RateSchedule::constant;
    distill.input = input == "own" ? StudentInput::own : StudentInput::teacher;
    distill.relative = !plain;
    distill.parts = {false, false, false, false};
    for (const std::string& part : train) {
      if (part == "attention") {
        distill.parts.attention = true;
      } else if (part == "mlp") {
        distill.parts.mlp = true;
      } else if (part == "norms") {
        distill.parts.norms = true;
      } else if (part == "prediction") {
        distill.parts.prediction = true;
      } else {
        refuse(fmt::format("--train {}: unknown", part), "use attention, mlp, norms or prediction");
      }
    }
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
                     command.logits_rate, command.schedule, training.batch, training.seed);
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
        command.plain ? "mean squared error of a token's stream"
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
