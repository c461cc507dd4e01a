#include "runtime/cluster/topology_file.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kernels/device/error.h"
#include "model/json_object.h"

namespace spd {
namespace {

constexpr const char* kSchema = "spd.topology/1";
constexpr std::size_t kMostFitted = 10000;  // see fit_segments

std::size_t bytes_of(const JsonObject& json, const char* key) {
  return static_cast<std::size_t>(json.integer(key, 0));
}

/// Signs are for LinkModel to judge.
LinkSegment segment_of(const JsonObject& json) {
  constexpr double kAny = std::numeric_limits<double>::lowest();
  return {json.has("from_bytes") ? bytes_of(json, "from_bytes") : 0, json.number("alpha_us", kAny),
          json.number("us_per_byte", kAny)};
}

// `fitted`: samples of this file that lines were fitted to so far.
LinkCurve curve_of(const JsonObject& json, std::size_t& fitted) {
  json.check_keys({"group", "ranks", "wire", "algorithm", "backend", "samples", "segments",
                   "from_bytes", "alpha_us", "us_per_byte"});
  LinkCurve curve;
  curve.group = json.parsed("group", parse_link_group);
  if (json.has("wire")) curve.wire = json.parsed("wire", parse_wire_format);
  curve.algorithm = json.string_or("algorithm", LinkCurve::kAuto);
  curve.backend = json.string_or("backend", "");
  if (json.has("samples")) {
    for (const JsonObject& sample : json.objects("samples")) {
      sample.check_keys({"bytes", "p50_us", "p99_us", "max_us"});
      const double p50 = sample.number("p50_us", 0.0);
      const double p99 = sample.number_or("p99_us", 0.0, p50);
      curve.samples.push_back(
          {bytes_of(sample, "bytes"), p50, p99, sample.number_or("max_us", 0.0, p99)});
      const auto count = curve.samples.size();
      if (count > 1 && curve.samples[count - 2].bytes >= curve.samples.back().bytes) {
        json.fail("samples", "must ascend in bytes");
      }
    }
  }
  if (json.has("segments")) {
    for (const JsonObject& segment : json.objects("segments")) {
      segment.check_keys({"from_bytes", "alpha_us", "us_per_byte"});
      curve.segments.push_back(segment_of(segment));
    }
  } else if (json.has("alpha_us") || json.has("us_per_byte")) {
    curve.segments.push_back(segment_of(json));
  } else {
    fitted += curve.samples.size();
    if (fitted > kMostFitted) {
      json.fail("samples",
                fmt::format("are too many to fit: more than {} in the file", kMostFitted),
                "thin them out, or give segments");
    }
    curve.segments = fit_segments(curve.samples);
  }
  if (curve.segments.empty()) json.fail("alpha_us", "is missing, and so are segments and samples");
  return curve;
}

nlohmann::json to_json(const LinkCurve& curve, int ranks) {
  nlohmann::json json{{"group", name(curve.group)},
                      {"ranks", ranks},
                      {"wire", name(curve.wire)},
                      {"algorithm", curve.algorithm}};
  if (!curve.backend.empty()) json["backend"] = curve.backend;
  json["segments"] = nlohmann::json::array();
  for (const LinkSegment& segment : curve.segments) {
    json["segments"].push_back({{"from_bytes", segment.from_bytes},
                                {"alpha_us", segment.alpha_us},
                                {"us_per_byte", segment.us_per_byte}});
  }
  for (const TimeSample& sample : curve.samples) {
    json["samples"].push_back({{"bytes", sample.bytes},
                               {"p50_us", sample.p50_us},
                               {"p99_us", sample.p99_us},
                               {"max_us", sample.max_us}});
  }
  return json;
}

}  // namespace

TopologyFile TopologyFile::load(const std::filesystem::path& file) {
  const JsonObject json = JsonObject::load(file);
  json.check_schema(
      kSchema,
      "give a file written by spd topo --json, or by hand as runtime/cluster/topology_file.h says");
  json.check_keys({"schema", "version", "machine", "source", "ranks_per_node", "all_reduce",
                   // what spd topo found besides
                   "virtual", "node_of_rank", "nodes", "links", "backends", "held_out"});
  const std::vector<int> ranks_per_node = json.integers("ranks_per_node", 1);
  if (std::accumulate(ranks_per_node.begin(), ranks_per_node.end(), std::int64_t{0}) >
      JsonObject::kLargest) {
    json.fail("ranks_per_node", fmt::format("are more than {} ranks", JsonObject::kLargest));
  }
  std::vector<LinkCurve> curves;
  std::size_t fitted = 0;
  for (const JsonObject& entry : json.objects("all_reduce")) {
    curves.push_back(curve_of(entry, fitted));
  }
  try {
    return {json.string_or("machine", file.stem().string()), json.string_or("source", ""),
            LinkModel(ranks_per_node, std::move(curves))};
  } catch (const Error& error) {
    throw Error(ErrorCode::input, fmt::format("{}: {}", file.string(), error.message()),
                "measure again: spd topo --json");
  }
}

nlohmann::json to_json(const TopologyFile& topology) {
  nlohmann::json json{{"schema", kSchema},
                      {"version", SPD_VERSION},
                      {"machine", topology.machine},
                      {"source", topology.source},
                      {"ranks_per_node", topology.links.ranks_per_node()},
                      {"all_reduce", nlohmann::json::array()}};
  for (const LinkCurve& curve : topology.links.curves()) {
    json["all_reduce"].push_back(to_json(curve, topology.links.ranks(curve.group)));
  }
  return json;
}

}  // namespace spd
