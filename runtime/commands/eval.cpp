// spd eval: how well a plan predicts a text or does at tasks, beside a baseline plan.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "kernels/device/error.h"
#include "runtime/commands/command.h"
#include "runtime/commands/eval_tasks.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/inference/text_input.h"
#include "runtime/job/agreed_error.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/progress.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    R"(spd eval: perplexity on a text, or zero-shot tasks; where the plan skips syncs, beside a baseline.

  mpirun -n R spd eval --model DIR --text FILE [options]
  mpirun -n R spd eval --model DIR --tasks LIST --data DIR [options])";
constexpr const char* kTextHelp =
    R"(A text is tokenised once, as a whole; each window is run on its own and its first token is
not scored.

)";
constexpr const char* kExamples = R"(Examples:
  mpirun -n 3 spd eval -m DIR --text valid.txt --limit 8
  mpirun -n 3 spd eval -m DIR --text valid.txt --drop attn:5-20 --json drop.json
  spd eval -m DIR --text valid.txt --virtual-ranks 8 --virtual-nodes 2 --node attn:all
  spd eval -m DIR --tasks all --data tasks --limit 200 --virtual-ranks 3 --drop attn:5-20
)";

struct EvalOptions {
  CommonOptions common;
  StartOptions start;
  NamedFiles files;
  WindowOptions windows;
  TaskOptions tasks;
  std::string text;
  std::string baseline = "auto";

  void parse(const std::vector<std::string>& arguments) {
    OptionTable table;
    OptionGroup input = table.group("Text");
    input.add("text", "FILE", &text, "UTF-8 text; -: from stdin");
    input.add("window", "N", &windows.window, at_least(2), "tokens of a window");
    input.add("stride", "N", &windows.stride, at_least(1), "tokens from one window to the next");
    tasks.add_to(table);
    OptionGroup both = table.group("Text and tasks");
    both.add("limit", "N", &windows.limit, at_least(0),
             "windows, or items of a task, at most, 0: all");
    both.add("baseline", "B", &baseline,
             "compare with: full (every sync full), none, or a plan file",
             "full where the plan skips a sync");
    common.add_to(table);
    start.add_to(table);
    files =
        parse_arguments(table, arguments, kUsage, std::string(kTextHelp) + kTasksHelp + kExamples);
    if (text.empty() == tasks.names.empty()) {
      throw Error(ErrorCode::usage, "give either --text FILE or --tasks LIST", "see --help");
    }
    if (!tasks.names.empty() && tasks.data.empty()) {
      throw Error(ErrorCode::usage, "--tasks needs --data DIR, the folder of the tasks' files",
                  "see --help for the files");
    }
    if (tasks.names.empty() && (!tasks.data.empty() || !tasks.items.empty() || !tasks.is_whole())) {
      throw Error(ErrorCode::usage, "--data, --items and --shard are for tasks, not for --text",
                  "leave them out; --json FILE keeps a text's result");
    }
    tasks.limit = windows.limit;
  }
};

// A plan that is tried may be worth nothing; what is shown as a result must be a number.
void check_finite(const TextScore& score) {
  if (std::isfinite(score.nll_sum)) return;
  throw AgreedError(ErrorCode::input, "the text's likelihood is not a number",
                    "the model's weights or the plan give numbers that are not finite");
}

void print_table(const TextEvaluation& evaluation, const SyncLevels& levels) {
  const auto row = [](const char* name, const TextScore& score) {
    say("{:<10} {:>8} {:>10} {:>12.5f} {:>12.4f}\n", name, score.windows, score.tokens, score.nll(),
        std::exp(score.nll()));
  };
  say("{:<10} {:>8} {:>10} {:>12} {:>12}\n", "", "windows", "tokens", "NLL (nats)", "perplexity");
  if (evaluation.baseline) row("baseline", *evaluation.baseline);
  row("plan", evaluation.plan);
  say("\nplan: {}\n", levels.describe());
  if (!evaluation.baseline) return;
  const Divergence& divergence = *evaluation.divergence;
  const auto tokens = static_cast<double>(divergence.tokens);
  say("rise of NLL                 {:+.5f} nats\n",
      evaluation.plan.nll() - evaluation.baseline->nll());
  say("KL(baseline || plan)        {:.6f} nats a token\n", divergence.kl_sum / tokens);
  say("largest log-prob difference {:.4f} nats\n", divergence.largest_log_prob);
  say("same likeliest token        {:.2f} %\n",
      100.0 * static_cast<double>(divergence.same_top1) / tokens);
}

nlohmann::json to_json(const TextScore& score) {
  return {{"windows", score.windows},
          {"tokens", score.tokens},
          {"nll_nats", score.nll()},
          {"perplexity", std::exp(score.nll())}};
}

nlohmann::json to_json(const TextEvaluation& evaluation) {
  nlohmann::json json = to_json(evaluation.plan);
  json["window_nll_nats"] = evaluation.window_nll;
  if (evaluation.baseline) {
    const Divergence& divergence = *evaluation.divergence;
    const auto tokens = static_cast<double>(divergence.tokens);
    json["baseline"] = to_json(*evaluation.baseline);
    json["against_baseline"] = {
        {"nll_rise_nats", evaluation.plan.nll() - evaluation.baseline->nll()},
        {"kl_nats", divergence.kl_sum / tokens},
        {"largest_log_prob_difference_nats", divergence.largest_log_prob},
        {"top1_agreement", static_cast<double>(divergence.same_top1) / tokens}};
  }
  return json;
}

}  // namespace

void run_eval(RankContext& context, const std::vector<std::string>& arguments) {
  EvalOptions options;
  options.parse(arguments);
  check_apart(context, options.files);
  if (!options.tasks.names.empty()) {
    return run_tasks(context, options.common, options.tasks, options.baseline);
  }
  const OutputFile results = open_output(context, "--json", options.common.json);
  const auto tokens = read_token_ids(context, options.common.engine.model, options.text);
  Engine engine(context, options.common.engine, options.windows.window);
  const SyncLevels& levels = engine.plan().levels;
  std::optional<SyncLevels> baseline;
  agree(context.comms, "reading the baseline",
        [&] { baseline = choose_baseline(engine, options.baseline); });

  std::optional<Progress> bar;
  std::optional<Interruption> why;
  std::int64_t windows = 0;
  const auto begin = std::chrono::steady_clock::now();
  const auto evaluation =
      evaluate_text(engine, tokens, options.windows, levels, baseline,
                    [&](std::int64_t done, std::int64_t of, const TextScore& score) {
                      check_finite(score);
                      if (!bar) bar.emplace("windows", of, context.root());
                      bar->update(done, fmt::format("NLL {:.4f}", score.nll()));
                      windows = of;
                      if (done < of) why = find_interruption(context.comms, engine.stream());
                      return !why;
                    });
  bar.reset();
  if (baseline) check_finite(*evaluation.baseline);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (context.root()) print_table(evaluation, levels);
  nlohmann::json json = result_header("eval", engine);
  json.update(to_json(evaluation));
  json["text"] = options.text;
  json["window_tokens"] = options.windows.window;
  json["stride_tokens"] = options.windows.stride;
  json["seconds"] = seconds;
  json["complete"] = !why;
  write_json(context, results, json);
  if (why) {
    stop(*why,
         fmt::format("kept: the result of {} of {} windows, {}", evaluation.plan.windows, windows,
                     results ? fmt::format("in {}", options.common.json) : "on stdout"),
         "the same command begins anew; --limit takes fewer windows");
  }
}

}  // namespace spd
