// What a job runs on: the machine of every node, and the pairs and groups of ranks to be timed.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/cluster/link_probe.h"
#include "runtime/job/launch.h"

namespace spd {

/// One object a node: "name", "ranks", "numa_nodes_of_ranks", "cpu", "cores", "usable_cores",
/// "numa_nodes", "memory_bytes", "nics", "gpus", "gpu_pairs", "gpus_absent"; see comm/machine.h.
/// All ranks call it alike and get the same.
std::vector<nlohmann::json> survey_nodes(const RankComms& comms);

/// Two ranks whose link stands for those like it.
struct RankPair {
  const char* where = "";  ///< "same NUMA node", "same node", "across nodes"
  int first = 0;
  int second = 0;
};
/// The first pair of each class that there is.
std::vector<RankPair> pairs_to_probe(const Topology& topology,
                                     const std::vector<nlohmann::json>& nodes);

/// The communicator of a pair, over the backends that the job's groups use; null on other ranks.
/// Collective over the job.
std::unique_ptr<Communicator> make_pair_communicator(RankContext& context, const RankPair& pair);

/// The groups as the runtime has them, in every wire format; with `algorithms`, also each algorithm
/// across nodes, and all ranks without a hierarchy, in f32. Collective over the job.
std::vector<ProbeTarget> probe_targets(RankContext& context, std::size_t max_bytes,
                                       bool algorithms);

}  // namespace spd
