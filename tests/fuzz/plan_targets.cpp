// Targets of what plans are made from, and of what is kept while they are made.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "comm/algorithm_table.h"
#include "kernels/device/error.h"
#include "model/fingerprint.h"
#include "model/hash.h"
#include "runtime/cluster/topology_file.h"
#include "runtime/distillation/distill_checkpoint.h"
#include "runtime/inference/engine.h"
#include "runtime/planning/plan_judge.h"
#include "runtime/planning/planner.h"
#include "runtime/planning/sensitivity_table.h"
#include "runtime/report/output_file.h"
#include "runtime/report/svg_plot.h"
#include "tests/fuzz/target.h"

namespace spd::fuzz {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const ModelConfig& tiny_config() {
  static const ModelConfig config = ModelConfig::load(fs::path(SPD_FIXTURES) / "models" / "llama");
  return config;
}

void load_topology(std::string_view input, const fs::path& folder) {
  write(folder / "topology.json", input);
  const TopologyFile topology = TopologyFile::load(folder / "topology.json");
  touch(to_json(topology).dump());
  for (const LinkGroup group : kLinkGroups) {
    for (const WireFormat wire : {WireFormat::f32, WireFormat::bf16, WireFormat::int8}) {
      for (const std::size_t bytes : {std::size_t{0}, std::size_t{4096}, std::size_t{1} << 40}) {
        try {
          if (!(topology.links.predict_us(group, bytes, wire) >= 0.0)) {
            contradict("a predicted time that is no time");
          }
        } catch (const Error&) {  // a group without times
        }
      }
    }
  }
  touch(to_string(fastest_algorithms(topology.links)));
}

std::vector<std::string> topology_seeds() {
  std::vector<std::string> seeds;
  // One of group cross with an algorithm's name comes first: only those are taken to the end.
  Json json = {{"schema", "spd.topology/1"},
               {"machine", "m"},
               {"source", "by hand"},
               {"ranks_per_node", {2, 2}},
               {"all_reduce", Json::array()}};
  const Json samples = {{{"bytes", 1024}, {"p50_us", 20}, {"p99_us", 30}, {"max_us", 40}},
                        {{"bytes", 65536}, {"p50_us", 60}, {"p99_us", 70}, {"max_us", 80}},
                        {{"bytes", 1048576}, {"p50_us", 800}, {"p99_us", 900}, {"max_us", 990}}};
  for (const char* group : {"node", "cross", "world"}) {
    json["all_reduce"].push_back(
        {{"group", group}, {"alpha_us", 12}, {"us_per_byte", 4e-6}, {"wire", "bf16"}});
    json["all_reduce"].push_back({{"group", group}, {"backend", "ucx"}, {"samples", samples}});
    json["all_reduce"].push_back({{"group", group}, {"algorithm", "ring"}, {"samples", samples}});
  }
  seeds.push_back(json.dump());
  for (const char* name : {"2x8-h100-100gbe", "8-rtx4090-pcie"}) {
    seeds.push_back(source_file(fmt::format("runtime/cluster/topologies/{}.json", name)));
  }
  return seeds;
}

void load_sensitivity(std::string_view input, const fs::path& folder) {
  write(folder / "sensitivity.json", input);
  const SensitivityTable table = SensitivityTable::load(folder / "sensitivity.json");
  touch(table.to_json().dump());
  table.complete();
}

SensitivityTable sensitivities() {
  SensitivityTable table;
  table.header = {{"schema", "spd.sensitivity/1"},
                  {"model", {{"fingerprint", fingerprint(tiny_config())}}},
                  {"tp", 2},
                  {"ranks_per_node", {2}},
                  {"plan", Json::object()}};
  table.tokens = {100, 100};
  table.base_nll_sum = {300.0, 310.0};
  for (std::int64_t block = 0; block < tiny_config().blocks; ++block) {
    for (const SyncPoint point : kSyncPoints) {
      for (const SyncLevel level : {SyncLevel::drop, SyncLevel::full}) {
        if (level == SyncLevel::drop && point == SyncPoint::mlp &&
            block + 1 == tiny_config().blocks) {
          continue;
        }
        SensitivityEntry entry;
        entry.point = point;
        entry.block = block;
        entry.level = level;
        entry.wire = level == SyncLevel::full ? WireFormat::int8 : WireFormat::f32;
        entry.windows = {{1.0 + static_cast<double>(block), 0.5}, {2.0, 0.25}};
        table.entries.push_back(entry);
      }
    }
  }
  return table;
}

std::vector<std::string> sensitivity_seeds() { return {sensitivities().to_json().dump()}; }

// A machine and a table, and what comes of the two.
void make_plan(std::string_view input, const fs::path& folder) {
  const auto parts = parts_of(input, 2);
  write(folder / "topology.json", parts[0]);
  write(folder / "sensitivity.json", parts[1]);
  const LinkModel read = TopologyFile::load(folder / "topology.json").links;
  const LinkModel links({2}, read.curves());
  const SensitivityTable table = SensitivityTable::load(folder / "sensitivity.json");
  const Planner planner(tiny_config(), links, Workload{}, {table}, SensitivityForm::single,
                        {1000.0, 100.0});
  for (const double nats : {0.0, 0.02, 1e9}) {
    const PlanSolution solution = planner.within_loss(nats);
    if (!(solution.loss <= nats)) contradict("a plan that loses more than its budget");
    planner.levels(solution).validate(tiny_config().blocks);
  }
  planner.within_latency(planner.least_latency_us());
  Plot plot{"t", "x", "y", {{"pareto", {}, true, {}}}};
  for (const PlanSolution& solution : planner.pareto(8)) {
    plot.series[0].points.emplace_back(planner.request_us(solution), solution.loss);
  }
  touch(to_svg(plot));
}

std::vector<std::string> planner_seeds() {
  return {join_parts({topology_seeds()[0], sensitivity_seeds()[0]})};
}

// Small enough for all choices to be tried.
void solve(std::string_view input, const fs::path&) {
  KnapsackItems items;
  for (std::size_t i = 1; i + 1 < input.size() && items.size() < 6; i += 6) {
    items.emplace_back();
    for (std::size_t k = i; k + 1 < std::min(i + 6, input.size()); k += 2) {
      items.back().push_back({static_cast<double>(static_cast<unsigned char>(input[k])),
                              static_cast<double>(static_cast<unsigned char>(input[k + 1]))});
    }
  }
  if (items.empty()) return;
  const double budget = 4.0 * static_cast<unsigned char>(input[0]);
  const auto found = solve_knapsack(items, budget);
  double best = std::numeric_limits<double>::infinity();
  const std::function<void(std::size_t, double, double)> attempt = [&](std::size_t item,
                                                                       double cost, double weight) {
    if (weight > budget) return;
    if (item == items.size()) {
      best = std::min(best, cost);
      return;
    }
    for (const KnapsackChoice& choice : items[item]) {
      attempt(item + 1, cost + choice.cost, weight + choice.weight);
    }
  };
  attempt(0, 0.0, 0.0);
  if (found.has_value() != std::isfinite(best)) contradict("a solution is missed, or made up");
  if (found && (found->cost != best || found->weight > budget)) contradict("not the best solution");
}

std::vector<std::string> knapsack_seeds() {
  return {
      "\x20"
      "abcdefghijklmnopqrst",
      "\xff"
      "aaaaaa"};
}

// One rank, as all of them read what is kept.
void on_one_rank(const std::function<void(RankContext&)>& body) {
  LaunchOptions launch;
  launch.virtual_ranks = 1;
  launch_virtual(launch, body);
}

const std::vector<std::int32_t> kHeldOutText = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};

void load_trials(std::string_view input, const fs::path& folder) {
  PlanJudgeOptions options;
  options.window = 4;
  options.windows = 3;
  options.file = folder / "plan.json.trials";
  write(options.file, input);
  on_one_rank([&](RankContext& context) {
    const PlanJudge held_out(context.comms, kHeldOutText, options, "search");
    touch(held_out.kept());
  });
}

std::vector<std::string> trials_seeds() {
  const std::string setting =
      fmt::format("search text {} window 4 windows 3 skip 0", hash_ids(kHeldOutText));
  return {Json{{"schema", "spd.plan-trials/1"},
               {"setting", setting},
               {"full_nll_nats", {1.0, 2.0}},
               {"plan_nll_nats", {{"ffffff", {1.5}}}}}
              .dump()};
}

void load_progress(std::string_view input, const fs::path& folder) {
  EngineOptions options;
  options.model = fs::path(SPD_FIXTURES) / "models" / "llama";
  options.threads = 1;
  options.pin = false;
  options.drop = {"attn:0"};
  write(folder / "out.json.progress", input);
  on_one_rank([&](RankContext& context) {
    Engine engine(context, options, 8);
    OutputFile out("--out", folder / "out.json", OutputKind::regular);
    const DistillCheckpoint progress(engine, {std::move(out), {}, true});
    if (progress.windows_done("settings") < 0) contradict("fewer than no windows");
  });
}

std::vector<std::string> progress_seeds() {
  return {R"({"settings": "settings", "windows": 3})", R"({"settings": "other", "windows": 3})"};
}

constexpr const char* kTopologyKeys =
    "schema spd.topology/1 machine source ranks_per_node all_reduce group node cross world wire "
    "f32 "
    "bf16 int8 algorithm auto one_shot recursive_doubling ring scatter_gather backend segments "
    "from_bytes alpha_us us_per_byte samples bytes p50_us p99_us max_us";
constexpr const char* kSensitivityKeys =
    "schema spd.sensitivity/1 model fingerprint tp ranks_per_node plan text window_tokens_scored "
    "window_nll_sum_nats entries form single backward point attn mlp block level full node drop "
    "wire f32 bf16 int8 repaired repair_share_of_block nll_rise_nats window_total_rise_sum_nats "
    "window_own_rise_squares_nats2";

}  // namespace

std::vector<Target> plan_targets() {
  return {
      {"topology", load_topology, topology_seeds, kTopologyKeys},
      {"sensitivity", load_sensitivity, sensitivity_seeds, kSensitivityKeys},
      {"planner", make_plan, planner_seeds, kSensitivityKeys, 2},
      {"knapsack", solve, knapsack_seeds},
      {"plan_trials", load_trials, trials_seeds, "schema setting full_nll_nats plan_nll_nats"},
      {"distill_progress", load_progress, progress_seeds, "settings windows"},
  };
}

}  // namespace spd::fuzz
