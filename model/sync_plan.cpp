#include "model/sync_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "model/fingerprint.h"

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
  return {std::vector<SyncLevel>(blocks, SyncLevel::full),
          std::vector<SyncLevel>(blocks, SyncLevel::full)};
}

int SyncLevels::count(SyncLevel level) const {
  return static_cast<int>(std::count(attn.begin(), attn.end(), level) +
                          std::count(mlp.begin(), mlp.end(), level));
}

void SyncLevels::validate(std::int64_t blocks) const {
  if (static_cast<std::int64_t>(attn.size()) != blocks ||
      static_cast<std::int64_t>(mlp.size()) != blocks) {
    throw Error(ErrorCode::usage, fmt::format("plan has {} attn and {} mlp levels for {} blocks",
                                              attn.size(), mlp.size(), blocks));
  }
  if (blocks > 0 && mlp.back() != SyncLevel::full) {
    throw Error(ErrorCode::usage,
                fmt::format("the last sync point (block {} mlp) is {}, but the model's output "
                            "needs it full",
                            blocks - 1, name(mlp.back())),
                fmt::format("leave block {} mlp out of the plan", blocks - 1));
  }
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

nlohmann::json to_names(const std::vector<SyncLevel>& levels) {
  nlohmann::json names = nlohmann::json::array();
  for (const SyncLevel level : levels) names.push_back(name(level));
  return names;
}

std::vector<SyncLevel> from_names(const nlohmann::json& names) {
  std::vector<SyncLevel> levels;
  for (const auto& entry : names) {
    levels.push_back(parse_sync_level(entry.get_ref<const std::string&>()));
  }
  return levels;
}

// A plan is only as good as what it was measured on: anything else is refused, not adapted.
void check_made_for(const nlohmann::json& json, const ModelConfig& config,
                    const Topology& topology) {
  const std::string remedy = "make a plan for this model and this allocation, or run without it";
  const auto& model = json.at("model");
  if (const auto theirs = model.at("fingerprint").get<std::string>();
      theirs != spd::fingerprint(config)) {
    throw Error(ErrorCode::input,
                fmt::format("the plan was made for another model ({}, fingerprint {}; this one is "
                            "{}, fingerprint {})",
                            model.value("architecture", "?"), theirs, config.architecture,
                            spd::fingerprint(config)),
                remedy);
  }
  if (const int tp = json.at("tp").get<int>(); tp != topology.ranks()) {
    throw Error(
        ErrorCode::input,
        fmt::format("the plan was made for {} ranks, this run has {}", tp, topology.ranks()),
        fmt::format("start {} ranks, or {}", tp, remedy));
  }
  const auto split = json.at("ranks_per_node").get<std::vector<int>>();
  if (split != topology.ranks_per_node()) {
    throw Error(ErrorCode::input,
                fmt::format("the plan was made for nodes of [{}] ranks, this run has [{}]",
                            fmt::join(split, ", "), fmt::join(topology.ranks_per_node(), ", ")),
                remedy);
  }
}

}  // namespace

SyncPlan SyncPlan::from_json(const nlohmann::json& json, const std::string& origin,
                             const ModelConfig& config, const Topology& topology) {
  try {
    if (const auto schema = json.at("schema").get<std::string>(); schema != "spd.plan/1") {
      throw Error(ErrorCode::input, fmt::format("schema is \"{}\", not \"spd.plan/1\"", schema),
                  "give a file written by spd plan");
    }
    check_made_for(json, config, topology);
    SyncPlan plan = all_full(config, topology);
    const auto& partition = json.at("partition");
    if (const auto kind = partition.at("kind").get<std::string>(); kind == "explicit") {
      plan.partition = Partition::from_json(partition, config);
      if (plan.ranks() != topology.ranks()) {
        throw Error(ErrorCode::input, fmt::format("partition has {} ranks", plan.ranks()));
      }
    } else if (kind != "contiguous") {
      throw Error(ErrorCode::input, fmt::format("unknown partition kind \"{}\"", kind));
    }
    plan.levels.attn = from_names(json.at("levels").at("attn"));
    plan.levels.mlp = from_names(json.at("levels").at("mlp"));
    plan.levels.validate(config.blocks);
    return plan;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::input, fmt::format("{}: not a plan: {}", origin, error.what()));
  } catch (const Error& error) {
    throw Error(ErrorCode::input, fmt::format("{}: {}", origin, error.what()));
  }
}

SyncPlan SyncPlan::load(const std::filesystem::path& file, const ModelConfig& config,
                        const Topology& topology) {
  std::ifstream stream(file);
  if (!stream) {
    throw Error(ErrorCode::input, fmt::format("{}: cannot read the plan", file.string()),
                "check --plan");
  }
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(stream);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::input, fmt::format("{}: not JSON: {}", file.string(), error.what()));
  }
  return from_json(json, file.string(), config, topology);
}

nlohmann::json SyncPlan::to_json(const ModelConfig& config) const {
  const bool contiguous = partition == Partition::contiguous(config, ranks());
  return {{"schema", "spd.plan/1"},
          {"version", SPD_VERSION},
          {"model", {{"architecture", architecture}, {"fingerprint", fingerprint}}},
          {"tp", ranks()},
          {"ranks_per_node", ranks_per_node},
          {"partition", contiguous ? nlohmann::json{{"kind", "contiguous"}} : partition.to_json()},
          {"levels", {{"attn", to_names(levels.attn)}, {"mlp", to_names(levels.mlp)}}}};
}

void apply_selection(std::string_view flag, std::string_view selection, SyncLevel level,
                     SyncLevels& levels) {
  const auto blocks = static_cast<std::int64_t>(levels.attn.size());
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorCode::usage, fmt::format("{} {}: {}", flag, selection, why),
                fmt::format("write for example {} attn:0-{} or {} mlp:2,4 or {} attn:all", flag,
                            std::min<std::int64_t>(blocks - 1, 3), flag, flag));
  };
  const auto number = [&](std::string_view text) {
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) {
      fail(fmt::format("\"{}\" is not a block number", text));
    }
    if (value >= blocks) fail(fmt::format("the model has blocks 0 to {}", blocks - 1));
    return value;
  };

  const auto colon = selection.find(':');
  const auto point_name = selection.substr(0, colon);
  if (colon == std::string_view::npos || (point_name != "attn" && point_name != "mlp")) {
    fail("does not begin with attn: or mlp:");
  }
  const SyncPoint point = parse_sync_point(point_name);
  std::string_view rest = selection.substr(colon + 1);
  if (rest == "all") {
    // The last mlp sync stays full: the output needs it (SyncLevels::validate).
    const std::int64_t end = point == SyncPoint::mlp ? blocks - 1 : blocks;
    for (std::int64_t block = 0; block < end; ++block) levels.at(block, point) = level;
    return;
  }
  while (true) {
    const auto comma = rest.find(',');
    const auto item = rest.substr(0, comma);
    const auto dash = item.find('-');
    const std::int64_t first = number(item.substr(0, dash));
    const std::int64_t last =
        dash == std::string_view::npos ? first : number(item.substr(dash + 1));
    if (last < first) fail(fmt::format("range {} runs backwards", item));
    for (std::int64_t block = first; block <= last; ++block) levels.at(block, point) = level;
    if (comma == std::string_view::npos) break;
    rest = rest.substr(comma + 1);
  }
}

}  // namespace spd
