#include "model/sync_levels.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "kernels/device/comma_list.h"
#include "kernels/device/error.h"
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
  for (const SyncLevel level : kSyncLevels) {
    if (text == name(level)) return level;
  }
  throw Error(ErrorCode::input, fmt::format("unknown sync level \"{}\"", text),
              "use full, node or drop");
}

SyncPoint parse_sync_point(std::string_view text) {
  for (const SyncPoint point : kSyncPoints) {
    if (text == name(point)) return point;
  }
  throw Error(ErrorCode::input, fmt::format("unknown sync point \"{}\"", text), "use attn or mlp");
}

SyncLevels SyncLevels::all_full(std::int64_t blocks) {
  const std::vector<SyncLevel> full(blocks, SyncLevel::full);
  const std::vector<WireFormat> f32(blocks, WireFormat::f32);
  return {{full, full}, {f32, f32}};
}

int SyncLevels::count(SyncLevel of) const {
  return static_cast<int>(std::count(level.attn.begin(), level.attn.end(), of) +
                          std::count(level.mlp.begin(), level.mlp.end(), of));
}

int SyncLevels::count(WireFormat of) const {
  int sum = 0;
  for (const SyncPoint point : kSyncPoints) {
    for (std::int64_t block = 0; block < blocks(); ++block) {
      sum += at(block, point) != SyncLevel::drop && wire_at(block, point) == of ? 1 : 0;
    }
  }
  return sum;
}

bool SyncLevels::leaves_out(std::int64_t first, std::int64_t last) const {
  for (std::int64_t block = first; block < last; ++block) {
    for (const SyncPoint point : kSyncPoints) {
      if (at(block, point) != SyncLevel::full) return true;
    }
  }
  return false;
}

std::string SyncLevels::describe() const {
  std::string text =
      fmt::format("{} full, {} node, {} dropped syncs a pass", count(SyncLevel::full),
                  count(SyncLevel::node), count(SyncLevel::drop));
  for (const WireFormat format : kWireFormats) {
    if (format == WireFormat::f32) continue;
    if (const int syncs = count(format)) text += fmt::format(", {} as {}", syncs, name(format));
  }
  return text;
}

void SyncLevels::validate(std::int64_t blocks) const {
  const auto is_long = [&](const auto& list) { return std::ssize(list) == blocks; };
  if (!is_long(level.attn) || !is_long(level.mlp)) {
    throw Error(ErrorCode::usage, fmt::format("plan has {} attn and {} mlp levels for {} blocks",
                                              level.attn.size(), level.mlp.size(), blocks));
  }
  if (!is_long(wire.attn) || !is_long(wire.mlp)) {
    throw Error(ErrorCode::usage,
                fmt::format("plan has {} attn and {} mlp wire formats for {} blocks",
                            wire.attn.size(), wire.mlp.size(), blocks));
  }
  if (blocks > 0 && level.mlp.back() != SyncLevel::full) {
    throw Error(ErrorCode::usage,
                fmt::format("the last sync point (block {} mlp) is {}, but the model's output "
                            "needs it full",
                            blocks - 1, name(level.mlp.back())),
                fmt::format("leave block {} mlp out of the plan", blocks - 1));
  }
}

std::string SyncLevels::key() const {
  std::string key;
  for (const SyncPoint point : kSyncPoints) {
    for (std::int64_t block = 0; block < blocks(); ++block) {
      const SyncLevel own = at(block, point);
      key += fmt::format("{}{} ", name(own)[0],
                         own == SyncLevel::drop ? "" : name(wire_at(block, point)));
    }
  }
  return key;
}

namespace {

template <class T>
nlohmann::json to_names(const PerPoint<std::vector<T>>& values) {
  nlohmann::json json;
  for (const SyncPoint point : kSyncPoints) {
    nlohmann::json& names = json[name(point)] = nlohmann::json::array();
    for (const T value : values[point]) names.push_back(name(value));
  }
  return json;
}

}  // namespace

nlohmann::json SyncLevels::to_json() const { return to_names(level); }

nlohmann::json SyncLevels::wire_to_json() const { return to_names(wire); }

SyncLevels SyncLevels::from_json(const JsonObject& json) {
  json.check_keys({"attn", "mlp"});
  const auto attn = json.parsed_list("attn", parse_sync_level);
  SyncLevels levels = all_full(std::ssize(attn));
  levels.level = {attn, json.parsed_list("mlp", parse_sync_level)};
  if (levels.level.mlp.size() != attn.size()) {
    json.fail("mlp",
              fmt::format("has {} levels, attn has {}", levels.level.mlp.size(), attn.size()));
  }
  return levels;
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

// One selection of a flag, for messages: `prefix` is what the flag's text has before it.
struct Selection {
  std::string_view flag;
  std::string_view prefix;
  std::string_view text;
  std::int64_t blocks;

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(ErrorCode::usage, fmt::format("{} {}{}: {}", flag, prefix, text, why),
                fmt::format("write for example {0} {1}attn:0-{2} or {0} {1}mlp:2,4 or {0} "
                            "{1}attn:all",
                            flag, prefix, std::min<std::int64_t>(blocks - 1, 3)));
  }
};

// Calls visit(block, point, all) for each sync point of a selection; `all`: it names no blocks.
template <class F>
void for_selected(const Selection& selection, F visit) {
  const auto colon = selection.text.find(':');
  const auto point_name = selection.text.substr(0, colon);
  if (colon == std::string_view::npos || (point_name != "attn" && point_name != "mlp")) {
    selection.fail("does not begin with attn: or mlp:");
  }
  const SyncPoint point = parse_sync_point(point_name);
  const std::string_view list = selection.text.substr(colon + 1);
  if (list == "all") {
    for (std::int64_t block = 0; block < selection.blocks; ++block) visit(block, point, true);
    return;
  }
  for_blocks(
      list, selection.blocks, [&](const std::string& why) { selection.fail(why); },
      [&](std::int64_t block) { visit(block, point, false); });
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
  const std::int64_t blocks = levels.blocks();
  for_selected({flag, "", selection, blocks}, [&](std::int64_t block, SyncPoint point, bool all) {
    if (all && is_output(block, point, blocks)) return;
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
      {flag, text.substr(0, equals + 1), text.substr(equals + 1), levels.blocks()},
      [&](std::int64_t block, SyncPoint point, bool) { levels.wire_at(block, point) = wire; });
}

}  // namespace spd
