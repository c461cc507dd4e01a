#include "runtime/sensitivity_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "kernels/device/error.h"

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

Rise SensitivityTable::own_rise(const SensitivityEntry& entry) const {
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
    const Rise own = own_rise(entry);
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

SensitivityTable SensitivityTable::load(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) {
    throw Error(ErrorCode::input, fmt::format("{}: cannot read the sensitivities", file.string()),
                "make them with spd sensitivity --json FILE");
  }
  try {
    nlohmann::json json = nlohmann::json::parse(stream);
    if (const auto schema = json.at("schema").get<std::string>(); schema != "spd.sensitivity/1") {
      throw Error(
          ErrorCode::input,
          fmt::format("{}: schema is \"{}\", not \"spd.sensitivity/1\"", file.string(), schema),
          "give a file written by spd sensitivity --json");
    }
    SensitivityTable table;
    table.tokens = json.at("window_tokens_scored").get<std::vector<std::int64_t>>();
    table.base_nll_sum = json.at("window_nll_sum_nats").get<std::vector<double>>();
    for (const auto& item : json.at("entries")) {
      SensitivityEntry entry;
      entry.form = parse_sensitivity_form(item.at("form").get<std::string>());
      entry.point = parse_sync_point(item.at("point").get<std::string>());
      entry.block = item.at("block").get<std::int64_t>();
      entry.level = parse_sync_level(item.at("level").get<std::string>());
      entry.wire = parse_wire_format(item.at("wire").get<std::string>());
      entry.repaired = item.at("repaired").get<bool>();
      entry.repair_share = item.at("repair_share_of_block").get<double>();
      const auto sums = item.at("window_total_rise_sum_nats").get<std::vector<double>>();
      const auto squares = item.at("window_own_rise_squares_nats2").get<std::vector<double>>();
      if (sums.size() != squares.size() || sums.size() > table.tokens.size()) {
        throw Error(ErrorCode::input,
                    fmt::format("{}: an entry's windows are not the table's", file.string()));
      }
      for (std::size_t i = 0; i < sums.size(); ++i) entry.windows.push_back({sums[i], squares[i]});
      table.entries.push_back(std::move(entry));
    }
    if (table.base_nll_sum.size() != table.tokens.size()) {
      throw Error(ErrorCode::input,
                  fmt::format("{}: windows scored and their NLLs differ in number", file.string()));
    }
    for (const char* derived :
         {"complete", "base_nll_nats", "window_tokens_scored", "window_nll_sum_nats", "entries"}) {
      json.erase(derived);
    }
    table.header = std::move(json);
    return table;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::input,
                fmt::format("{}: not a sensitivity file: {}", file.string(), error.what()));
  }
}

}  // namespace spd
