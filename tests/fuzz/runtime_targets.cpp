// Targets of what users give: command lines, prompts, task data, results to go on with.
#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "comm/algorithm_table.h"
#include "kernels/device/error.h"
#include "model/sync_plan.h"
#include "runtime/commands/command.h"
#include "runtime/evaluation/loader.h"
#include "runtime/evaluation/results_file.h"
#include "runtime/inference/prompt_input.h"
#include "tests/fuzz/target.h"

namespace spd::fuzz {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

void read_prompt_files(std::string_view input, const fs::path& folder) {
  std::string refusal;
  for (const char* name : {"prompts.jsonl", "prompts.txt"}) {
    write(folder / name, input);
    try {
      for (const Prompt& prompt : read_prompts(folder / name)) touch(prompt.text + prompt.origin);
    } catch (const Error& error) {
      refusal = error.what();
    }
  }
  if (!refusal.empty()) throw Error(ErrorCode::input, refusal);
}

std::vector<std::string> prompt_seeds() {
  return {
      "{\"prompt\": \"Once\"}\n\n{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n",
      "Once upon a time\n\n  two\n", "\xef\xbb\xbf{\"prompt\": \"BOM\"}\r\n",
      R"([{"prompt": "a"}, {"messages": [{"role": "tool", "content": [{"type": "text", "text": "x"}]}]}])"};
}

void check_item(const Task& task, const TaskItem& item) {
  if (item.requests.empty() || item.characters.size() != item.requests.size()) {
    contradict(fmt::format("{}: an item without requests", task.name));
  }
  if (item.gold < 0 || item.gold >= static_cast<std::int64_t>(item.requests.size())) {
    contradict(fmt::format("{}: a right choice that is not there", task.name));
  }
  for (const Request& request : item.requests) touch(request.context + request.continuation);
}

// A file of items as each of the tasks reads it.
void read_tasks(std::string_view input, const fs::path& folder) {
  std::string refusal;
  bool taken = false;
  for (const Task& task : known_tasks()) {
    write(folder / (std::string(task.name) + ".jsonl"), input);
    try {
      for (const TaskItem& item : load_items(task, folder, {})) check_item(task, item);
      taken = true;
    } catch (const Error& error) {
      refusal = error.what();
    }
  }
  if (!taken) throw Error(ErrorCode::input, refusal);
}

std::vector<std::string> task_seeds() {
  std::vector<std::string> seeds;
  const Json reference = Json::parse(fixture("tasks/reference.json"));
  for (const Task& task : known_tasks()) {
    for (const char* form : {"native", "compact"}) {
      std::string lines;
      for (std::size_t i = 0; i < 2; ++i) {
        const Json& item = reference.at(task.name).at(i).at(form);
        if (!item.is_null()) lines += item.dump() + '\n';
      }
      if (!lines.empty()) seeds.push_back(lines);
    }
  }
  return seeds;
}

const Json& results_header() {
  static const Json header = {{"schema", "spd.task-items/1"}, {"tp", 2}};
  return header;
}

// What was read is read the same again: nothing is lost by going on.
void read_results(std::string_view input, const fs::path& folder) {
  write(folder / "items.jsonl", input);
  const ItemResult added = {{{-1.5, true}}, {}};
  {
    ResultsFile file(folder / "items.jsonl", results_header());
    file.find("piqa", 0, "k0");
    file.append("piqa", 12345, "key", added, {{"gold", 1}});
    file.flush();
  }
  const ResultsFile again(folder / "items.jsonl", results_header());
  const ItemResult* found = again.find("piqa", 12345, "key");
  if (!found || found->plan.at(0).log_likelihood != -1.5)
    contradict("an item that was put down is lost");
}

std::vector<std::string> results_seeds() {
  const fs::path file = fs::temp_directory_path() / fmt::format("spd-fuzz-{}.jsonl", ::getpid());
  {
    ResultsFile results(file, results_header());
    results.append("piqa", 0, "k0", {{{-1.25, true}, {-2.0, false}}, {}}, {{"gold", 1}});
    results.append("piqa", 1, "k1", {{{-0.1, false}}, {{-0.3, true}}}, {{"plan", {{"acc", 1.0}}}});
    results.flush();
  }
  const std::string whole = read_back(file);
  return {whole, whole.substr(0, whole.size() - 20), ""};
}

// The command line as it begins, then as each subcommand reads it; --help first, so that it ends
// there.
void parse_words(const std::vector<std::string>& words) {
  for (const Command& command : commands()) {
    std::vector<std::string> arguments = {"--help"};
    arguments.insert(arguments.end(), words.begin(), words.end());
    RankContext context;
    try {
      command.run(context, arguments);
      contradict(fmt::format("{} --help ran", command.name));
    } catch (const HelpRequest& help) {
      touch(help.text);
    } catch (const Error& error) {
      touch(error.what());
    }
  }
}

void parse_command_line(std::string_view input, const fs::path& folder) {
  const auto parts = parts_of(input, 2);
  write(folder / "options.ini", parts[0]);
  std::vector<std::string> words;
  std::istringstream stream(parts[1]);
  for (std::string word; std::getline(stream, word);) words.push_back(word);
  parse_words(words);

  CommonOptions common;
  StartOptions start;
  po::options_description all;
  all.add(common.describe()).add(start.describe());
  words.insert(words.begin(), {"--config", (folder / "options.ini").string()});
  parse_start_options(words);
  try {
    parse_arguments(all, words, "usage", "examples");
  } catch (const HelpRequest&) {  // among the words
    return;
  }
  auto levels = SyncLevels::all_full(8);
  for (const auto& selection : common.engine.drop) {
    apply_selection("--drop", selection, SyncLevel::drop, levels);
  }
  for (const auto& selection : common.engine.wire)
    apply_wire_selection("--wire", selection, levels);
  levels.validate(8);
}

std::vector<std::string> option_seeds() {
  return {join_parts({"model = dir\ndrop = attn:0-3,5\n# comment\nwire = bf16=mlp:all\nthreads=2\n",
                      "--virtual-ranks\n2\n--algo\none_shot,ring:4096\n--deadline=5"}),
          join_parts({"[section]\nx = 1\n", "-m\nd\n--drop\nattn:all\n--intra\nthread"}),
          join_parts({"", "--model=m\n--tasks\nall\n--max-loss\n1%\n--node\nmlp:1"})};
}

constexpr const char* kOptionWords =
    "--model -m --plan --drop --node --wire --threads --pin --exact --kv-dtype --batch-tokens "
    "--json "
    "--config --help --virtual-ranks --virtual-nodes --deadline --intra --inter --algo "
    "--rails --flat attn:all mlp:0-3 bf16=attn:1 int8=mlp:all f16 4294967296 -1 1e9 nan "
    "%value% %original_token% one_shot ring:4096 -- = [ ]";
constexpr const char* kTaskKeys =
    "context continuation text query choices gold goal sol1 sol2 label activity_label ctx_a ctx_b "
    "endings context_options sentence option1 option2 answer question answerKey support "
    "distractor1 "
    "distractor2 distractor3 correct_answer [title] [step] [substeps] _ \u00a0 \u2028 \u0085";

}  // namespace

std::vector<Target> runtime_targets() {
  return {
      {"prompts", read_prompt_files, prompt_seeds,
       "prompt messages role content system user assistant developer tool type text tool_calls "
       "tools add_generation_prompt continue_final_message \xef\xbb\xbf"},
      {"tasks", read_tasks, task_seeds, kTaskKeys},
      {"items", read_results, results_seeds,
       "schema spd.task-items/1 tp task item key plan baseline log_likelihood_nats greedy"},
      {"options", parse_command_line, option_seeds, kOptionWords, 2},
  };
}

}  // namespace spd::fuzz
