#include "runtime/commands/eval_tasks.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include "kernels/device/error.h"
#include "model/fingerprint.h"
#include "model/hash.h"
#include "runtime/commands/task_report.h"
#include "runtime/evaluation/loader.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/inference/embedding_rows.h"
#include "runtime/job/agreed_error.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/progress.h"
#include "runtime/job/user_input.h"

namespace spd {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kMostSlots = 64;          // items under way
constexpr std::int64_t kCachePositions = 32768;  // over all slots

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// "i/n" with 0 <= i < n.
TaskSlice slice_of(const TaskOptions& options) {
  TaskSlice slice;
  slice.limit = options.limit;
  const char* end = options.shard.data() + options.shard.size();
  const auto [slash, first_error] = std::from_chars(options.shard.data(), end, slice.index);
  const bool has_slash = first_error == std::errc() && slash != end && *slash == '/';
  const auto [stop, second_error] =
      has_slash ? std::from_chars(slash + 1, end, slice.count)
                : std::from_chars_result{slash, std::errc::invalid_argument};
  if (second_error != std::errc() || stop != end || slice.index < 0 || slice.index >= slice.count) {
    throw Error(ErrorCode::usage, fmt::format("--shard {}: not a part i/n", options.shard),
                "count parts from 0, e.g. --shard 0/4 to --shard 3/4");
  }
  if (slice.limit < 0) {
    throw Error(ErrorCode::usage, "--limit is less than 0", "give 0 for all items");
  }
  return slice;
}

// One task with all its items; what was scored is filled in as it comes. On the root only.
struct TaskWork {
  Task task;
  std::vector<TaskItem> items;
  std::vector<EncodedItem> encoded;
  std::vector<ItemResult> results;  // no plan likelihoods: still to be done
  std::vector<std::size_t> todo;
};

std::int64_t longest_input(std::span<const EncodedItem> items) {
  std::size_t longest = 0;
  for (const EncodedItem& item : items) {
    for (const EncodedRequest& request : item) longest = std::max(longest, request.input().size());
  }
  return static_cast<std::int64_t>(longest);
}

EncodedItem encode(RequestEncoder& encoder, const Task& task, const TaskItem& item) {
  try {
    return encoder.encode(item);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{} {}", task.name, error.message()), error.remedy());
  }
}

class TaskRun {
 public:
  TaskRun(RankContext& context, const CommonOptions& common, const TaskOptions& options)
      : context_(context), common_(common), options_(options), slice_(slice_of(options)) {
    tasks_ = parse_tasks(options.names);
    results_ = open_output(context, "--json", common.json);
    items_ = open_output(context, "--items", options.items);
    std::int64_t longest = 1;
    agree(context.comms, "reading the tasks", [&] {
      if (context.root()) longest = load();
    });
    longest = broadcast_ids(context.comms, {static_cast<std::int32_t>(longest)}).front();
    engine_.emplace(context, common.engine, longest);
  }

  void run(const std::string& baseline) {
    agree(context_.comms, "reading the baseline",
          [&] { baseline_ = choose_baseline(*engine_, baseline); });
    agree(context_.comms, "opening the results", [&] {
      if (context_.root()) resume();
    });
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < tasks_.size(); ++i) run_task(i);
    bar_.reset();
    report(seconds_since(begin));
  }

 private:
  // Returns the tokens of the longest request's input.
  std::int64_t load() {
    const ModelConfig config = load_config(common_.engine);
    const auto tokenizer = Tokenizer::load(common_.engine.model);
    const auto prefix = config.bos_id || config.eos_ids.empty()
                            ? config.bos_id
                            : std::optional(config.eos_ids.front());
    RequestEncoder encoder(*tokenizer, prefix, config.max_positions);
    std::int64_t longest = 1;
    std::int64_t items = 0;
    for (const Task& task : tasks_) {
      TaskWork& work = work_.emplace_back();
      work.task = task;
      work.items = load_items(task, options_.data, slice_);
      items += static_cast<std::int64_t>(work.items.size());
    }
    for (const TaskWork& work : work_) {
      if (work.items.empty()) {
        fmt::print(stderr, "spd: --shard {} holds no item of {}\n", options_.shard, work.task.name);
      }
    }
    if (items == 0) return longest;
    Progress progress("tokenising", items, true);
    items = 0;
    for (TaskWork& work : work_) {
      for (const TaskItem& item : work.items) {
        stop_alone_if_interrupted(context_.comms, "tokenising");
        work.encoded.push_back(encode(encoder, work.task, item));
        for (const EncodedRequest& request : work.encoded.back()) {
          check_embedding_rows(request.ids, config.vocab, *tokenizer, common_.engine.model,
                               fmt::format("{} item {}", work.task.name, item.number));
        }
        progress.update(++items);
      }
      work.results.resize(work.items.size());
      longest = std::max(longest, longest_input(work.encoded));
    }
    truncated_ = encoder.truncated();
    return longest;
  }

  // What the results depend on besides an item's tokens.
  nlohmann::json header() {
    const EngineOptions& options = engine_->options();
    const auto key = [](const SyncPlan& plan, const SyncLevels& levels, const ModelConfig& config) {
      SyncPlan run = plan;
      run.levels = levels;
      return hash_text(json_text(run.to_json(config), -1));
    };
    const ModelConfig& config = engine_->config();
    return {{"schema", "spd.task-items/1"},
            {"version", SPD_VERSION},
            {"model", std::filesystem::weakly_canonical(options.model).string()},
            {"fingerprint", fingerprint(engine_->config())},
            {"tp", context_.ranks()},
            {"ranks_per_node", context_.comms.topology.ranks_per_node()},
            {"kv_dtype", name(options.kv_dtype)},
            {"plan", key(engine_->plan(), engine_->plan().levels, config)},
            {"baseline", baseline_ ? key(engine_->plan(), *baseline_, config) : "none"}};
  }

  void resume() {
    if (items_) file_.emplace(std::move(items_), header());
    for (TaskWork& work : work_) {
      for (std::size_t i = 0; i < work.items.size(); ++i) {
        const ItemResult* known =
            file_ ? file_->find(work.task.name, work.items[i].number, content_key(work.encoded[i]))
                  : nullptr;
        if (known && is_whole(*known, work.encoded[i].size())) {
          work.results[i] = *known;
          ++resumed_;
        } else {
          work.todo.push_back(i);
          todo_tokens_ += tokens_of(work.encoded[i]);
        }
      }
    }
    bar_.emplace("tokens", todo_tokens_, true);
  }

  // Whether a result on file has all of an item's requests.
  bool is_whole(const ItemResult& result, std::size_t requests) const {
    return result.plan.size() == requests && result.baseline.size() == (baseline_ ? requests : 0);
  }

  static std::int64_t tokens_of(const EncodedItem& item) {
    std::int64_t tokens = 0;
    for (const EncodedRequest& request : item) {
      tokens += static_cast<std::int64_t>(request.ids.size());
    }
    return tokens;
  }

  void run_task(std::size_t index) {
    std::vector<std::int32_t> packed;
    if (context_.root()) {
      std::vector<EncodedItem> todo;
      for (const std::size_t i : work_[index].todo) todo.push_back(work_[index].encoded[i]);
      packed = pack(todo);
    }
    const auto items = unpack(broadcast_ids(context_.comms, std::move(packed)));
    if (items.empty()) return;
    std::vector<SyncLevels> variants{engine_->plan().levels};
    if (baseline_) variants.push_back(*baseline_);
    const std::int64_t capacity = longest_input(items);
    const std::int64_t slots = std::clamp<std::int64_t>(
        std::min(kCachePositions / (capacity * std::ssize(variants)), std::ssize(items)), 1,
        kMostSlots);
    LikelihoodScorer scorer(*engine_, variants, slots, capacity);
    if (const auto why = find_interruption(context_.comms, engine_->stream())) stop_for(*why);
    SafePoints safe_points(context_.comms, engine_->stream());
    std::vector<Scored> scored;  // in the last step
    const auto done = [&](std::size_t place, ItemLikelihoods likelihoods) {
      scored.push_back({place, std::move(likelihoods)});
    };
    // One long item can take minutes: what is done of it shows, and requests to stop are heard.
    scorer.score(items, done, [&, before = done_tokens_] {
      if (!scored.empty()) {
        agree(context_.comms, "writing results", [&] {
          if (context_.root()) keep(work_[index], scored);
        });
        scored.clear();
      }
      const std::int64_t computed = scorer.work().tokens / std::ssize(variants);
      if (bar_) bar_->update(std::max(done_tokens_, before + computed), tasks_[index].name);
      if (const auto why = safe_points.behind_step()) stop_for(*why);
    });
    work_done_.add(scorer.work());
  }

  struct Scored {
    std::size_t place = 0;  // among the items still to be done
    ItemLikelihoods likelihoods;
  };

  void keep(TaskWork& work, const std::vector<Scored>& scored) {
    for (const Scored& one : scored) {
      const std::size_t item = work.todo[one.place];
      ItemResult& result = work.results[item];
      result.plan = one.likelihoods[0];
      if (baseline_) result.baseline = one.likelihoods[1];
      check_finite(work, item, result.plan);
      check_finite(work, item, result.baseline);
      done_tokens_ += tokens_of(work.encoded[item]);
      if (!file_) continue;
      nlohmann::json extra = {{"gold", work.items[item].gold}};
      const auto add = [&](const char* side, const std::vector<Likelihood>& likelihoods) {
        const Grade graded = grade(work.task, work.items[item], likelihoods);
        extra[side]["acc"] = graded.acc;
        if (work.task.acc_norm) extra[side]["acc_norm"] = graded.acc_norm;
      };
      add("plan", result.plan);
      if (!result.baseline.empty()) add("baseline", result.baseline);
      file_->append(work.task.name, work.items[item].number, content_key(work.encoded[item]),
                    result, extra);
    }
    if (file_) file_->flush();
  }

  static void check_finite(const TaskWork& work, std::size_t item,
                           const std::vector<Likelihood>& likelihoods) {
    for (const Likelihood& likelihood : likelihoods) {
      if (std::isfinite(likelihood.log_likelihood)) continue;
      throw Error(ErrorCode::input,
                  fmt::format("{} item {}: its log-likelihood is {}", work.task.name,
                              work.items[item].number, likelihood.log_likelihood),
                  "the model's weights or the plan give numbers that are not finite");
    }
  }

  [[noreturn]] void stop_for(const Interruption& why) {
    bar_.reset();
    if (options_.items.empty()) {
      stop(why, "nothing was kept", "with --items FILE a run can be gone on with");
    }
    stop(why, fmt::format("kept: the items scored so far, in {}", options_.items),
         "the same command goes on from there");
  }

  void report(double seconds) {
    TaskReport report;
    if (context_.root()) {
      for (const TaskWork& work : work_) report.add(work.task, work.items, work.results);
    }
    // A bootstrap over thousands of items may take longer than a deadline allows the others.
    report = read_on_root<TaskReport>(context_.comms, [report] {
      TaskReport finished = report;
      finished.finish();
      return finished;
    });
    nlohmann::json json = result_header("tasks", *engine_);
    if (context_.root()) {
      report.print();
      json.update(report.to_json());
      json["limit_items"] = slice_.limit;
      json["shard"] = options_.shard;
      json["baseline"] = baseline_ ? count_levels(*baseline_) : nlohmann::json();
      json["items_taken_from_file"] = resumed_;
      json["truncated_requests"] = truncated_;
      json["seconds"] = seconds;
      json["requests"] = work_done_.requests;
      json["request_tokens"] = work_done_.request_tokens;
      json["computed_tokens"] = work_done_.tokens;
      json["logit_rows"] = work_done_.rows;
      const double speed = static_cast<double>(work_done_.tokens) / std::max(seconds, 1e-9);
      json["computed_tokens_per_s"] = speed;
      print_work(seconds, speed);
    }
    write_json(context_, results_, json,
               options_.items.empty() ? "" : fmt::format("the items, in {}", options_.items));
  }

  void print_work(double seconds, double speed) const {
    say("{:.1f} s: {} requests of {} tokens, {} of them computed ({:.0f} tokens/s), {} rows "
        "of logits\n",
        seconds, work_done_.requests, work_done_.request_tokens, work_done_.tokens, speed,
        work_done_.rows);
    if (resumed_ > 0) say("{} items' results were taken from {}\n", resumed_, options_.items);
    if (truncated_ > 0) {
      say("{} requests were longer than the model's context and lost their beginning\n",
          truncated_);
    }
  }

  RankContext& context_;
  const CommonOptions& common_;
  const TaskOptions& options_;
  TaskSlice slice_;
  std::vector<Task> tasks_;
  std::optional<Engine> engine_;
  std::optional<SyncLevels> baseline_;
  LikelihoodWork work_done_;
  OutputFile results_, items_;
  // Of the root.
  std::vector<TaskWork> work_;
  std::optional<ResultsFile> file_;
  std::optional<Progress> bar_;
  std::int64_t truncated_ = 0;
  std::int64_t resumed_ = 0;
  std::int64_t todo_tokens_ = 0;
  std::int64_t done_tokens_ = 0;
};

}  // namespace

const char* const kTasksHelp =
    "Tasks are scored as lm-evaluation-harness scores them, without examples in the prompt:\n"
    "acc, acc_norm (log-likelihood by characters), LAMBADA's acc and perplexity, each with its\n"
    "standard error. Where the plan skips syncs, the baseline runs on the same items and the\n"
    "differences are tested. --data holds TASK.jsonl files, an item a line, in either form:\n"
    "  lambada_openai  context, continuation          or  text\n"
    "  piqa            query, choices, gold           or  goal, sol1, sol2, label\n"
    "  hellaswag       query, choices, gold           or  activity_label, ctx_a, ctx_b, endings,\n"
    "                                                     label\n"
    "  winogrande      context_options, continuation, or  sentence, option1, option2, answer\n"
    "                  gold\n"
    "  arc_easy, arc_challenge\n"
    "                  query, choices, gold           or  question, choices, answerKey\n"
    "  sciq            support, question, choices,    or  support, question, distractor1..3,\n"
    "                  gold                               correct_answer\n"
    "The second is what the Hugging Face data sets hold: load_dataset(...).to_json(FILE). gold\n"
    "counts from 0; a query of piqa or arc begins with \"Question: \".\n"
    "With --items FILE each result is kept as it comes, and the same command goes on after an\n"
    "interruption. Parts done with --shard i/n are merged by putting their files one behind the\n"
    "other and running without --shard on the result.\n\n";

po::options_description TaskOptions::describe() {
  po::options_description description("Tasks");
  description.add_options()                             //
      ("tasks", po::value(&names)->value_name("LIST"),  //
       "all, or some of: lambada_openai, piqa, hellaswag, winogrande, arc_easy, "
       "arc_challenge, sciq")                                                             //
      ("data", po::value(&data)->value_name("DIR"), "folder of the tasks' .jsonl files")  //
      ("items", po::value(&items)->value_name("FILE"),
       "write each item's result as a line of JSON, and go on from what the file holds")  //
      ("shard", po::value(&shard)->value_name("i/n"),
       "only part i of n of every task's items, counted from 0");
  return description;
}

void run_tasks(RankContext& context, const CommonOptions& common, const TaskOptions& options,
               const std::string& baseline) {
  TaskRun(context, common, options).run(baseline);
}

}  // namespace spd
