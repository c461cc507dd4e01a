#include "model/sync_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "kernels/device/comma_list.h"
#include "kernels/device/error.h"
#include "kernels/device/file_writer.h"
#include "model/fingerprint.h"
#include "model/json_object.h"

namespace spd {

const char* name(SyncPoint point) { return point == SyncPoint::attn ? "attn" : "mlp"; }

const char* name(SyncLevel level) {
  switch (level) {
    case SyncLevel::full:
      return "full";
    case SyncLevel::node:
      return "node";
    case SyncLevel::drop:
      return "drop";
  }
  return "unknown";
}

SyncLevel parse_sync_level(std::string_view text) {
  for (const SyncLevel level : {SyncLevel::full, SyncLevel::node, SyncLevel::drop}) {
    if (text == name(level)) return level;
  }
  throw Error(ErrorCode::input, fmt::format("unknown sync level \"{}\"", text),
              "use full, node or drop");
}

SyncPoint parse_sync_point(std::string_view text) {
  for (const SyncPoint point : {SyncPoint::attn, SyncPoint::mlp}) {
    if (text == name(point)) return point;
  }
  throw Error(ErrorCode::input, fmt::format("unknown sync point \"{}\"", text), "use attn or mlp");
}

SyncLevels SyncLevels::all_full(std::int64_t blocks) {
  const std::vector<SyncLevel> full(blocks, SyncLevel::full);
  const std::vector<WireFormat> f32(blocks, WireFormat::f32);
  return {full, full, f32, f32};
}

int SyncLevels::count(SyncLevel level) const {
  return static_cast<int>(std::count(attn.begin(), attn.end(), level) +
                          std::count(mlp.begin(), mlp.end(), level));
}

int SyncLevels::count(WireFormat wire) const {
  int sum = 0;
  for (const SyncPoint point : {SyncPoint::attn, SyncPoint::mlp}) {
    for (std::int64_t block = 0; block < static_cast<std::int64_t>(attn.size()); ++block) {
      sum += at(block, point) != SyncLevel::drop && wire_at(block, point) == wire ? 1 : 0;
    }
  }
  return sum;
}

void SyncLevels::validate(std::int64_t blocks) const {
  if (static_cast<std::int64_t>(attn.size()) != blocks ||
      static_cast<std::int64_t>(mlp.size()) != blocks) {
    throw Error(ErrorCode::usage, fmt::format("plan has {} attn and {} mlp levels for {} blocks",
                                              attn.size(), mlp.size(), blocks));
  }
  if (static_cast<std::int64_t>(attn_wire.size()) != blocks ||
      static_cast<std::int64_t>(mlp_wire.size()) != blocks) {
    throw Error(ErrorCode::usage, fmt::format("plan has {} attn and {} mlp wire formats for {} "
                                              "blocks",
                                              attn_wire.size(), mlp_wire.size(), blocks));
  }
  if (blocks > 0 && mlp.back() != SyncLevel::full) {
    throw Error(ErrorCode::usage,
                fmt::format("the last sync point (block {} mlp) is {}, but the model's output "
                            "needs it full",
                            blocks - 1, name(mlp.back())),
                fmt::format("leave block {} mlp out of the plan", blocks - 1));
  }
}

namespace {

constexpr const char* kRemake = "make the plan again, or leave --plan out";

template <class T>
nlohmann::json to_names(const std::vector<T>& values) {
  nlohmann::json names = nlohmann::json::array();
  for (const T value : values) names.push_back(name(value));
  return names;
}

}  // namespace

std::string SyncLevels::key() const {
  std::string key;
  for (const SyncPoint point : {SyncPoint::attn, SyncPoint::mlp}) {
    for (std::int64_t block = 0; block < std::ssize(attn); ++block) {
      const SyncLevel level = at(block, point);
      key += fmt::format("{}{} ", name(level)[0],
                         level == SyncLevel::drop ? "" : name(wire_at(block, point)));
    }
  }
  return key;
}

nlohmann::json SyncLevels::to_json() const {
  return {{"attn", to_names(attn)}, {"mlp", to_names(mlp)}};
}

SyncLevels SyncLevels::from_json(const JsonObject& json) {
  json.check_keys({"attn", "mlp"});
  const auto attn = json.parsed_list("attn", parse_sync_level);
  SyncLevels levels = all_full(static_cast<std::int64_t>(attn.size()));
  levels.attn = attn;
  levels.mlp = json.parsed_list("mlp", parse_sync_level);
  if (levels.mlp.size() != attn.size()) {
    json.fail("mlp", fmt::format("has {} levels, attn has {}", levels.mlp.size(), attn.size()));
  }
  return levels;
}

SyncPlan SyncPlan::all_full(const ModelConfig& config, const Topology& topology) {
  SyncPlan plan;
  plan.architecture = config.architecture;
  plan.fingerprint = spd::fingerprint(config);
  plan.ranks_per_node = topology.ranks_per_node();
  plan.partition = Partition::contiguous(config, topology.ranks());
  plan.levels = SyncLevels::all_full(config.blocks);
  return plan;
}

namespace {

void check_known(const JsonObject& json) {
  json.check_keys({"schema", "version", "model", "tp", "ranks_per_node", "partition", "levels",
                   "wire", "repair",
                   // what is not read again: whether a command was still to go on with it, and what
                   // spd plan says of its choice
                   "complete", "machine", "workload", "predicted", "budget_nats", "measured",
                   "trials", "tau1_nats", "tau2_nats", "points", "pareto"});
}

// A plan is only as good as what it was measured on: anything else is refused, not adapted.
void check_made_for(const JsonObject& json, const ModelConfig& config, const Topology& topology) {
  const std::string remedy = "make a plan for this model and this allocation, or run without it";
  const JsonObject model = json.object("model");
  model.check_keys({"architecture", "fingerprint"});
  if (const auto theirs = model.string("fingerprint"); theirs != spd::fingerprint(config)) {
    model.fail(
        "fingerprint",
        fmt::format("shows that the plan was made for another model ({}, fingerprint {}; "
                    "this one is {}, fingerprint {})",
                    shown_json(model.raw("architecture")), shown_json(model.raw("fingerprint")),
                    config.architecture, spd::fingerprint(config)),
        remedy);
  }
  if (const std::int64_t tp = json.integer("tp", 1); tp != topology.ranks()) {
    json.fail("tp",
              fmt::format("says that the plan was made for {} ranks, this run has {}", tp,
                          topology.ranks()),
              fmt::format("start {} ranks, or {}", tp, remedy));
  }
}

// Who shares a node is of account where a sync stays within one, and only there.
void check_nodes(const JsonObject& json, const SyncLevels& levels, const Topology& topology) {
  const auto split = json.integers("ranks_per_node", 1);
  if (levels.count(SyncLevel::node) == 0 || split == topology.ranks_per_node()) return;
  json.fail("ranks_per_node",
            fmt::format("does not fit: the plan has syncs within nodes of [{}] ranks, this run "
                        "has [{}]",
                        fmt::join(split, ", "), fmt::join(topology.ranks_per_node(), ", ")),
            "start ranks so, or make a plan for these nodes");
}

Partition read_partition(const JsonObject& json, const ModelConfig& config,
                         const Topology& topology) {
  json.check_keys({"kind", "blocks"});
  if (const auto kind = json.string("kind"); kind == "contiguous") {
    return Partition::contiguous(config, topology.ranks());
  } else if (kind != "explicit") {
    json.fail("kind", fmt::format("is {}, neither \"contiguous\" nor \"explicit\"",
                                  shown_json(json.raw("kind"))));
  }
  return Partition::from_json(json, config, topology.ranks());
}

// A plan that was downloaded must not have other files of this machine read.
void check_beside(const JsonObject& json, RepairPaths paths) {
  const std::filesystem::path name = json.string("file");
  if (paths == RepairPaths::any ||
      (name == name.filename() && name != "." && name != ".." && !name.empty())) {
    return;
  }
  json.fail("file", fmt::format("is {}, not a file beside the plan", shown_json(json.raw("file"))),
            "keep the repair file in the plan's folder and name it without one, or say "
            "--any-repair-path where you trust the plan");
}

}  // namespace

SyncPlan SyncPlan::from_json(const nlohmann::json& from, const std::string& origin,
                             const ModelConfig& config, const Topology& topology,
                             RepairPaths paths) {
  try {
    const JsonObject json = JsonObject::of(from, origin).advising(kRemake);
    json.check_schema("spd.plan/1", "give a file written by spd plan");
    check_known(json);
    check_made_for(json, config, topology);
    SyncPlan plan = all_full(config, topology);
    plan.partition = read_partition(json.object("partition"), config, topology);
    plan.levels = SyncLevels::from_json(json.object("levels"));
    if (json.has("wire")) {
      const JsonObject wire = json.object("wire");
      wire.check_keys({"attn", "mlp"});
      plan.levels.attn_wire = wire.parsed_list("attn", parse_wire_format);
      plan.levels.mlp_wire = wire.parsed_list("mlp", parse_wire_format);
    }
    plan.levels.validate(config.blocks);
    check_nodes(json, plan.levels, topology);
    if (json.has("repair")) {
      const JsonObject repair = json.object("repair");
      repair.check_keys({"file", "hash"});
      check_beside(repair, paths);
      const std::filesystem::path name = repair.string("file");
      std::filesystem::path file = std::filesystem::path(origin).parent_path() / name;
      // Of a plan behind a symbolic link: beside the link, if it is there, or beside the plan.
      std::error_code ignored;
      if (!std::filesystem::exists(file, ignored)) file = follow_links(origin).parent_path() / name;
      plan.repair = RepairReference{file, repair.string("hash")};
    }
    return plan;
  } catch (const Error& error) {
    const std::string said = error.message();
    const std::string advice = error.remedy();
    throw Error(ErrorCode::input,
                said.starts_with(origin) ? said : fmt::format("{}: {}", origin, said),
                advice.empty() ? kRemake : advice);
  }
}

SyncPlan SyncPlan::load(const std::filesystem::path& file, const ModelConfig& config,
                        const Topology& topology, RepairPaths paths) {
  return from_json(JsonObject::load(file).value(), file.string(), config, topology, paths);
}

nlohmann::json SyncPlan::to_json(const ModelConfig& config,
                                 const std::filesystem::path& folder) const {
  const bool contiguous = partition == Partition::contiguous(config, ranks());
  nlohmann::json json = {
      {"schema", "spd.plan/1"},
      {"version", SPD_VERSION},
      {"model", {{"architecture", architecture}, {"fingerprint", fingerprint}}},
      {"tp", ranks()},
      {"ranks_per_node", ranks_per_node},
      {"partition", contiguous ? nlohmann::json{{"kind", "contiguous"}} : partition.to_json()},
      {"levels", levels.to_json()},
      {"wire", {{"attn", to_names(levels.attn_wire)}, {"mlp", to_names(levels.mlp_wire)}}}};
  if (repair) {
    const auto base = folder.empty() ? std::filesystem::path(".") : folder;
    json["repair"] = {{"file", std::filesystem::proximate(repair->file, base).string()},
                      {"hash", repair->hash}};
  }
  return json;
}

namespace {

// Calls visit(block) for each block of "0-3,7"; `fail` throws what it is told.
template <class Fail, class F>
void for_blocks(std::string_view list, std::int64_t blocks, const Fail& fail, const F& visit) {
  const auto number = [&](std::string_view text) {
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) {
      fail(fmt::format("\"{}\" is not a block number", text));
    }
    if (value >= blocks) fail(fmt::format("the model has blocks 0 to {}", blocks - 1));
    return value;
  };
  for (const std::string_view item : split_commas(list)) {
    const auto dash = item.find('-');
    const std::int64_t first = number(item.substr(0, dash));
    const std::int64_t last =
        dash == std::string_view::npos ? first : number(item.substr(dash + 1));
    if (last < first) fail(fmt::format("range {} runs backwards", item));
    for (std::int64_t block = first; block <= last; ++block) visit(block);
  }
}

// Calls visit(block, point) for each sync point of a selection. `prefix` is what the flag's text
// has before the selection, for messages.
template <class F>
void for_selected(std::string_view flag, const std::string& prefix, std::string_view selection,
                  std::int64_t blocks, F visit) {
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorCode::usage, fmt::format("{} {}{}: {}", flag, prefix, selection, why),
                fmt::format("write for example {0} {1}attn:0-{2} or {0} {1}mlp:2,4 or {0} "
                            "{1}attn:all",
                            flag, prefix, std::min<std::int64_t>(blocks - 1, 3)));
  };
  const auto colon = selection.find(':');
  const auto point_name = selection.substr(0, colon);
  if (colon == std::string_view::npos || (point_name != "attn" && point_name != "mlp")) {
    fail("does not begin with attn: or mlp:");
  }
  const SyncPoint point = parse_sync_point(point_name);
  const std::string_view list = selection.substr(colon + 1);
  if (list == "all") {
    for (std::int64_t block = 0; block < blocks; ++block) visit(block, point, true);
    return;
  }
  for_blocks(list, blocks, fail, [&](std::int64_t block) { visit(block, point, false); });
}

}  // namespace

std::set<std::int64_t> select_blocks(std::string_view flag, std::string_view list,
                                     std::int64_t blocks) {
  std::set<std::int64_t> selected;
  const auto fail = [&](const std::string& why) {
    throw Error(
        ErrorCode::usage, fmt::format("{} {}: {}", flag, list, why),
        fmt::format("write for example {} 0-{}", flag, std::min<std::int64_t>(blocks - 1, 3)));
  };
  for_blocks(list, blocks, fail, [&](std::int64_t block) { selected.insert(block); });
  return selected;
}

void apply_selection(std::string_view flag, std::string_view selection, SyncLevel level,
                     SyncLevels& levels) {
  const auto blocks = static_cast<std::int64_t>(levels.attn.size());
  for_selected(flag, "", selection, blocks, [&](std::int64_t block, SyncPoint point, bool all) {
    // "all" leaves the last mlp sync full: the output needs it (SyncLevels::validate).
    if (all && point == SyncPoint::mlp && block + 1 == blocks) return;
    levels.at(block, point) = level;
  });
}

void apply_wire_selection(std::string_view flag, std::string_view text, SyncLevels& levels) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) {
    throw Error(ErrorCode::usage, fmt::format("{} {}: no format given", flag, text),
                fmt::format("write for example {} bf16=attn:all", flag));
  }
  const WireFormat wire = parse_wire_format(text.substr(0, equals));
  for_selected(
      flag, std::string(text.substr(0, equals + 1)), text.substr(equals + 1),
      static_cast<std::int64_t>(levels.attn.size()),
      [&](std::int64_t block, SyncPoint point, bool) { levels.wire_at(block, point) = wire; });
}

}  // namespace spd
