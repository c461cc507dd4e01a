#include "comm/algorithm_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "comm/link_model.h"
#include "kernels/device/comma_list.h"
#include "kernels/device/error.h"

namespace spd {

namespace {

constexpr double kWorthAChange = 0.05;

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw Error(ErrorCode::usage, fmt::format("all-reduce algorithms \"{}\": {}", text, why),
              "name one, or several with the bytes from which each is used, ascending: "
              "one_shot,scatter_gather:524288");
}

}  // namespace

AlgorithmTable default_algorithms(int ranks) {
  // Two ranks exchange all they have in any case, and share the sums once those are long. More save
  // steps while messages are small, bytes once they are large.
  if (ranks <= 2) {
    return {{0, AllReduceAlgorithm::one_shot}, {512 * 1024, AllReduceAlgorithm::scatter_gather}};
  }
  if (ranks <= 4) {
    return {{0, AllReduceAlgorithm::one_shot}, {16 * 1024, AllReduceAlgorithm::scatter_gather}};
  }
  return {{0, AllReduceAlgorithm::recursive_doubling},
          {16 * 1024, AllReduceAlgorithm::scatter_gather}};
}

AllReduceAlgorithm choose(const AlgorithmTable& table, std::size_t bytes) {
  AllReduceAlgorithm chosen = table.front().algorithm;
  for (const AlgorithmRange& range : table) {
    if (bytes >= range.from_bytes) chosen = range.algorithm;
  }
  return chosen;
}

bool order_varies_with_size(const AlgorithmTable& table, int ranks) {
  const auto uses = [&](AllReduceAlgorithm algorithm) {
    return std::any_of(table.begin(), table.end(), [algorithm](const AlgorithmRange& range) {
      return range.algorithm == algorithm;
    });
  };
  if (ranks <= 2) return false;
  return uses(AllReduceAlgorithm::ring) ||
         (uses(AllReduceAlgorithm::recursive_doubling) && table.size() > 1);
}

AlgorithmTable fastest_algorithms(const LinkModel& measured) {
  std::map<std::size_t, std::vector<std::pair<double, AllReduceAlgorithm>>> times;  // by bytes
  for (const AllReduceAlgorithm algorithm : kAllReduceAlgorithms) {
    const LinkCurve* curve = measured.find(LinkGroup::cross, WireFormat::f32, name(algorithm));
    if (curve == nullptr) continue;
    for (const TimeSample& sample : curve->samples) {
      times[sample.bytes].emplace_back(sample.p50_us, algorithm);
    }
  }
  if (times.empty()) {
    throw Error(ErrorCode::input, "this topology has no times of single algorithms across nodes",
                "measure them: spd topo --json on several nodes, without --no-algorithms");
  }
  AlgorithmTable table;
  for (const auto& [bytes, candidates] : times) {
    const auto best = *std::min_element(candidates.begin(), candidates.end());
    if (table.empty()) {
      table.push_back({0, best.second});
      continue;
    }
    const auto current = std::find_if(
        candidates.begin(), candidates.end(),
        [&](const auto& candidate) { return candidate.second == table.back().algorithm; });
    if (current == candidates.end() || best.first < (1 - kWorthAChange) * current->first) {
      table.push_back({bytes, best.second});
    }
  }
  return table;
}

AlgorithmTable parse_algorithm_table(std::string_view text) {
  AlgorithmTable table;
  for (const std::string_view entry : split_commas(text)) {
    const std::size_t colon = entry.find(':');
    AlgorithmRange range{0, parse_all_reduce_algorithm(entry.substr(0, colon))};
    if (colon != std::string_view::npos) {
      const std::string_view bytes = entry.substr(colon + 1);
      const auto read =
          std::from_chars(bytes.data(), bytes.data() + bytes.size(), range.from_bytes);
      if (read.ec != std::errc() || read.ptr != bytes.data() + bytes.size()) {
        refuse(text, fmt::format("\"{}\" is no number of bytes", bytes));
      }
    }
    if (table.empty() ? range.from_bytes != 0 : range.from_bytes <= table.back().from_bytes) {
      refuse(text, "sizes must begin at 0 and ascend");
    }
    table.push_back(range);
  }
  return table;
}

std::string to_string(const AlgorithmTable& table) {
  std::string text;
  for (const AlgorithmRange& range : table) {
    text += range.from_bytes == 0 ? std::string(name(range.algorithm))
                                  : fmt::format(",{}:{}", name(range.algorithm), range.from_bytes);
  }
  return text;
}

}  // namespace spd
