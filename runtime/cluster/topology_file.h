// Topology files, "spd.topology/1": what spd topo measured here, or what someone wrote down about a
// machine that is not here.
//
// The least that a hand-written one holds:
//   {"schema": "spd.topology/1", "machine": "...", "source": "where the figures are from",
//    "ranks_per_node": [8, 8],
//    "all_reduce": [{"group": "node",  "alpha_us": 12, "us_per_byte": 4e-6},
//                   {"group": "cross", "alpha_us": 15, "us_per_byte": 4e-5},
//                   {"group": "world", "alpha_us": 30, "us_per_byte": 5e-5}]}
// Optional in an entry of all_reduce: "wire" (default f32), "algorithm" (default auto), "backend",
// "segments": [{"from_bytes", "alpha_us", "us_per_byte"}] in place of one alpha and beta,
// "samples":
// [{"bytes", "p50_us", "p99_us", "max_us"}]; samples alone are fitted when the file is read. Bytes
// are of f32 payload; see comm/link_model.h.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "comm/link_model.h"

namespace spd {

struct TopologyFile {
  std::string machine;  ///< a name for people
  std::string source;   ///< "measured by spd topo", or where the figures are from
  LinkModel links;

  /// Throws input Error naming the file, the key and what is wrong with it.
  static TopologyFile load(const std::filesystem::path& file);
};

/// The file's fields; spd topo adds what else it found.
nlohmann::json to_json(const TopologyFile& topology);

}  // namespace spd
