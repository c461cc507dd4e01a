#include "model/sync_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "kernels/device/file_writer.h"
#include "model/fingerprint.h"
#include "model/json_object.h"

namespace spd {

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

constexpr const char* kRemake = "make the plan again, or leave --plan out";

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

RepairReference read_repair(const JsonObject& json, const std::string& origin, RepairPaths paths) {
  json.check_keys({"file", "hash"});
  check_beside(json, paths);
  const std::filesystem::path name = json.string("file");
  std::filesystem::path file = std::filesystem::path(origin).parent_path() / name;
  // Of a plan behind a symbolic link: beside the link, if it is there, or beside the plan.
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) file = follow_links(origin).parent_path() / name;
  return {file, json.string("hash")};
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
      plan.levels.wire = {wire.parsed_list("attn", parse_wire_format),
                          wire.parsed_list("mlp", parse_wire_format)};
    }
    plan.levels.validate(config.blocks);
    check_nodes(json, plan.levels, topology);
    if (json.has("repair")) plan.repair = read_repair(json.object("repair"), origin, paths);
    return plan;
  } catch (const Error& error) {
    const std::string what = error.message();
    throw Error(ErrorCode::input,
                what.starts_with(origin) ? what : fmt::format("{}: {}", origin, what),
                error.remedy().empty() ? kRemake : error.remedy());
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
      {"wire", levels.wire_to_json()}};
  if (repair) {
    const auto base = folder.empty() ? std::filesystem::path(".") : folder;
    json["repair"] = {{"file", std::filesystem::proximate(repair->file, base).string()},
                      {"hash", repair->hash}};
  }
  return json;
}

}  // namespace spd
