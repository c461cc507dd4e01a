#include "runtime/planning/sensitivity_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/device/error.h"
#include "model/json_object.h"

namespace spd {

const char* name(SensitivityForm form) {
  return form == SensitivityForm::single ? "single" : "backward";
}

SensitivityForm parse_sensitivity_form(std::string_view text) {
  for (const auto form : {SensitivityForm::single, SensitivityForm::backward}) {
    if (text == name(form)) return form;
  }
  throw Error(ErrorCode::usage, fmt::format("unknown form of sensitivity \"{}\"", text),
              "use single or backward");
}

double SensitivityTable::base_nll() const {
  const auto scored = std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0});
  const double sum = std::accumulate(base_nll_sum.begin(), base_nll_sum.end(), 0.0);
  return scored > 0 ? sum / static_cast<double>(scored) : 0.0;
}

double SensitivityTable::total_rise(const SensitivityEntry& entry) const {
  double sum = 0.0;
  std::int64_t count = 0;
  for (std::size_t window = 0; window < entry.windows.size(); ++window) {
    sum += entry.windows[window].total;
    count += tokens.at(window);
  }
  return count > 0 ? sum / static_cast<double>(count) : 0.0;
}

NllIncrease SensitivityTable::own_rise(const SensitivityEntry& entry) const {
  double mean = total_rise(entry);
  if (entry.form == SensitivityForm::backward) {
    const SensitivityEntry* next =
        find(entry.form, entry.point, entry.block + 1, entry.level, entry.wire);
    if (next) mean -= total_rise(*next);
  }
  double squares = 0.0;
  double count = 0.0;
  for (std::size_t window = 0; window < entry.windows.size(); ++window) {
    squares += entry.windows[window].squares;
    count += static_cast<double>(tokens.at(window));
  }
  if (count < 2.0) return {mean, 0.0, 0.0};
  const double variance = (squares - count * mean * mean) / (count - 1.0);
  return {mean, std::sqrt(std::max(variance, 0.0) / count), 0.5 * squares / count};
}

const SensitivityEntry* SensitivityTable::find(SensitivityForm form, SyncPoint point,
                                               std::int64_t block, SyncLevel level,
                                               WireFormat wire) const {
  SensitivityEntry wanted;
  wanted.form = form;
  wanted.point = point;
  wanted.block = block;
  wanted.level = level;
  wanted.wire = wire;
  const auto found =
      std::find_if(entries.begin(), entries.end(),
                   [&](const SensitivityEntry& entry) { return entry.same_item(wanted); });
  return found == entries.end() ? nullptr : &*found;
}

bool SensitivityTable::complete() const {
  return std::all_of(entries.begin(), entries.end(), [&](const SensitivityEntry& entry) {
    return entry.windows.size() == tokens.size();
  });
}

nlohmann::json SensitivityTable::to_json() const {
  nlohmann::json json = header;
  json["complete"] = complete();
  json["base_nll_nats"] = base_nll();
  json["window_tokens_scored"] = tokens;
  json["window_nll_sum_nats"] = base_nll_sum;
  json["entries"] = nlohmann::json::array();
  for (const SensitivityEntry& entry : entries) {
    const NllIncrease own = own_rise(entry);
    std::vector<double> sums;
    std::vector<double> squares;
    for (const WindowRise& window : entry.windows) {
      sums.push_back(window.total);
      squares.push_back(window.squares);
    }
    json["entries"].push_back({{"form", name(entry.form)},
                               {"point", name(entry.point)},
                               {"block", entry.block},
                               {"level", name(entry.level)},
                               {"wire", name(entry.wire)},
                               {"repaired", entry.repaired},
                               {"repair_share_of_block", entry.repair_share},
                               {"nll_rise_nats", own.nats},
                               {"nll_rise_stderr_nats", own.standard_error},
                               {"total_nll_rise_nats", total_rise(entry)},
                               {"window_total_rise_sum_nats", sums},
                               {"window_own_rise_squares_nats2", squares}});
  }
  return json;
}

namespace {

// Beyond any sum of losses that is one; sums of as many as fit a file stay finite.
constexpr double kMostNats = 1e100;

SensitivityEntry entry_of(const JsonObject& item, std::size_t windows) {
  item.check_keys({"form", "point", "block", "level", "wire", "repaired", "repair_share_of_block",
                   "window_total_rise_sum_nats", "window_own_rise_squares_nats2",
                   // which follow from the others
                   "nll_rise_nats", "nll_rise_stderr_nats", "total_nll_rise_nats"});
  SensitivityEntry entry;
  entry.form = item.parsed("form", parse_sensitivity_form);
  entry.point = item.parsed("point", parse_sync_point);
  entry.block = item.integer("block", 0);
  entry.level = item.parsed("level", parse_sync_level);
  entry.wire = item.parsed("wire", parse_wire_format);
  entry.repaired = item.boolean("repaired");
  entry.repair_share = item.number_within("repair_share_of_block", 0.0, kMostNats);
  const auto sums = item.numbers("window_total_rise_sum_nats", -kMostNats, kMostNats);
  const auto squares = item.numbers("window_own_rise_squares_nats2", 0.0, kMostNats);
  if (sums.size() != squares.size() || sums.size() > windows) {
    item.fail("window_total_rise_sum_nats",
              fmt::format("and window_own_rise_squares_nats2 are of {} and {} windows, the table "
                          "has {}",
                          sums.size(), squares.size(), windows));
  }
  for (std::size_t i = 0; i < sums.size(); ++i) entry.windows.push_back({sums[i], squares[i]});
  return entry;
}

}  // namespace

SensitivityTable SensitivityTable::load(const std::filesystem::path& file) {
  const JsonObject json = JsonObject::load(file);
  json.check_schema("spd.sensitivity/1", "give a file written by spd sensitivity --json");
  json.check_keys({"schema", "model", "tp", "ranks_per_node", "text", "window_tokens",
                   "stride_tokens", "plan", "complete", "base_nll_nats", "window_tokens_scored",
                   "window_nll_sum_nats", "entries"});
  SensitivityTable table;
  const auto tokens = json.integers("window_tokens_scored", 0);
  table.tokens.assign(tokens.begin(), tokens.end());
  table.base_nll_sum = json.numbers("window_nll_sum_nats", -kMostNats, kMostNats);
  if (table.base_nll_sum.size() != table.tokens.size()) {
    json.fail("window_nll_sum_nats", fmt::format("is of {} windows, window_tokens_scored of {}",
                                                 table.base_nll_sum.size(), table.tokens.size()));
  }
  for (const JsonObject& item : json.objects("entries")) {
    table.entries.push_back(entry_of(item, table.tokens.size()));
    const SensitivityEntry& entry = table.entries.back();
    if (table.find(entry.form, entry.point, entry.block, entry.level, entry.wire) != &entry) {
      json.fail(fmt::format("entries[{}]", table.entries.size() - 1),
                "is of the same sync point, level and form as an earlier one");
    }
  }
  table.header = json.value();
  for (const char* derived :
       {"complete", "base_nll_nats", "window_tokens_scored", "window_nll_sum_nats", "entries"}) {
    table.header.erase(derived);
  }
  return table;
}

void SensitivityTable::check_blocks(std::int64_t blocks) const {
  for (const SensitivityEntry& entry : entries) {
    if (entry.block < blocks) continue;
    throw Error(
        ErrorCode::input,
        fmt::format("the sensitivities name block {}, the model has {}", entry.block, blocks),
        "measure this model's: spd sensitivity");
  }
}

}  // namespace spd
