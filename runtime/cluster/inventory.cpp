#include "runtime/cluster/inventory.h"

#include <algorithm>

#include "comm/machine.h"
#include "comm/mpi_session.h"
#include "runtime/report/output_file.h"

namespace spd {
namespace {

nlohmann::json to_json(const Machine& machine) {
  nlohmann::json json{{"cpu", machine.cpu},
                      {"cores", machine.cores},
                      {"usable_cores", machine.usable_cores},
                      {"numa_nodes", machine.numa_nodes},
                      {"memory_bytes", machine.memory_bytes},
                      {"nics", nlohmann::json::array()},
                      {"gpus", nlohmann::json::array()}};
  for (const Nic& nic : machine.nics) {
    nlohmann::json entry{{"name", nic.name}, {"kind", nic.kind}};
    if (nic.gbit_per_s) entry["gbit_per_s"] = *nic.gbit_per_s;
    if (nic.numa_node) entry["numa_node"] = *nic.numa_node;
    if (nic.mtu_bytes) entry["mtu_bytes"] = *nic.mtu_bytes;
    json["nics"].push_back(std::move(entry));
  }
  for (const Gpu& gpu : machine.gpus.gpus) {
    json["gpus"].push_back(
        {{"name", gpu.name}, {"pci_address", gpu.pci_address}, {"memory_bytes", gpu.memory_bytes}});
  }
  for (const GpuPair& pair : machine.gpus.pairs) {
    json["gpu_pairs"].push_back({{"gpus", {pair.first, pair.second}},
                                 {"nvlinks", pair.nvlinks},
                                 {"pcie", pair.pcie},
                                 {"peer_access", pair.peer_access}});
  }
  if (!machine.gpus.absent.empty()) json["gpus_absent"] = machine.gpus.absent;
  return json;
}

/// What goes to another node in one packet at most, by all ranks' networks; 0: unknown.
std::size_t largest_packet(const RankContext& context) {
  int bytes = 0;
  for (const Nic& nic : discover_nics()) {
    const int mtu = nic.mtu_bytes.value_or(0);
    if (mtu > 0 && (bytes == 0 || mtu < bytes)) bytes = mtu;
  }
  return context.session ? context.session->least(bytes) : bytes;
}

/// Whether the job's groups use this backend somewhere.
bool uses(const RankContext& context, const std::string& backend) {
  return std::any_of(context.backends.begin(), context.backends.end(),
                     [&](const BackendChoice& choice) { return choice.chosen == backend; });
}

/// A group of some ranks over what the job uses across nodes.
std::shared_ptr<Communicator> make_across(RankContext& context, const std::vector<int>& ranks,
                                          const std::shared_ptr<UcxWorker>& worker,
                                          const AlgorithmTable& algorithms) {
  ProcessGroup group = context.session->group(ranks);
  if (worker) return make_ucx_communicator(std::move(group), worker, algorithms);
  return make_mpi_communicator(std::move(group), algorithms);
}

}  // namespace

std::vector<nlohmann::json> survey_nodes(const RankComms& comms) {
  const Machine machine = discover_machine();
  nlohmann::json mine{{"numa", machine.numa_of_this_process}};
  const Topology& topology = comms.topology;
  if (topology.local_rank(comms.rank) == 0) mine["machine"] = to_json(machine);
  const std::vector<std::string> all = gather_texts(comms, json_text(mine, -1));
  std::vector<nlohmann::json> nodes;
  for (int node = 0; node < topology.nodes(); ++node) {
    const std::vector<int> ranks = topology.ranks_of_node(node);
    nlohmann::json json = nlohmann::json::parse(all[ranks.front()])["machine"];
    json["name"] = topology.node_names[node];
    json["ranks"] = ranks;
    for (const int rank : ranks) {
      json["numa_nodes_of_ranks"].push_back(nlohmann::json::parse(all[rank])["numa"]);
    }
    nodes.push_back(std::move(json));
  }
  return nodes;
}

std::vector<RankPair> pairs_to_probe(const Topology& topology,
                                     const std::vector<nlohmann::json>& nodes) {
  const auto numa = [&](int rank) -> const nlohmann::json& {
    return nodes[topology.node_of(rank)]["numa_nodes_of_ranks"][topology.local_rank(rank)];
  };
  std::vector<RankPair> pairs;
  for (int first = 0; first < topology.ranks(); ++first) {
    for (int second = first + 1; second < topology.ranks(); ++second) {
      const bool same_node = topology.node_of(first) == topology.node_of(second);
      const char* where = !same_node                    ? "across nodes"
                          : numa(first) == numa(second) ? "same NUMA node"
                                                        : "same node";
      const bool known = std::any_of(pairs.begin(), pairs.end(),
                                     [&](const RankPair& pair) { return pair.where == where; });
      if (!known) pairs.push_back({where, first, second});
    }
  }
  return pairs;
}

std::unique_ptr<Communicator> make_pair_communicator(RankContext& context, const RankPair& pair) {
  const int rank = context.rank();
  const bool member = rank == pair.first || rank == pair.second;
  const Topology& topology = context.comms.topology;
  const bool same_node = topology.node_of(pair.first) == topology.node_of(pair.second);
  ProcessGroup group = context.session->group(member ? std::vector<int>{pair.first, pair.second}
                                                     : std::vector<int>{rank});
  if (!member) return nullptr;
  if (same_node && uses(context, "shm")) return make_shm_communicator(std::move(group));
  if (!same_node && uses(context, "ucx")) {
    return make_ucx_communicator(
        std::move(group), std::make_shared<UcxWorker>(context.session->network().ucx_devices),
        default_algorithms(2));
  }
  return make_mpi_communicator(std::move(group), default_algorithms(2));
}

std::vector<ProbeTarget> probe_targets(RankContext& context, std::size_t max_bytes,
                                       bool algorithms) {
  const RankComms& comms = context.comms;
  const Topology& topology = comms.topology;
  const auto borrowed = [](Communicator* comm) {
    return std::shared_ptr<Communicator>(std::shared_ptr<void>(), comm);
  };
  const std::vector<int> per_node = topology.ranks_per_node();
  const bool shared_nodes = *std::max_element(per_node.begin(), per_node.end()) > 1;
  std::vector<ProbeTarget> targets;
  const std::size_t packet = topology.nodes() > 1 ? largest_packet(context) : 0;
  for (const WireFormat wire : kWireFormats) {
    if (shared_nodes) {
      targets.push_back({LinkGroup::node, LinkCurve::kAuto, wire, max_bytes, borrowed(comms.node)});
    }
    if (topology.nodes() > 1) {
      if (uses(context, "hierarchical")) {
        targets.push_back(
            {LinkGroup::cross, LinkCurve::kAuto, wire, max_bytes, borrowed(comms.cross), packet});
      }
      targets.push_back(
          {LinkGroup::world, LinkCurve::kAuto, wire, max_bytes, borrowed(comms.world), packet});
    }
  }
  if (!algorithms || topology.nodes() == 1) return targets;

  max_bytes = std::min<std::size_t>(max_bytes, 1 << 20);  // enough to compare
  const auto worker = uses(context, "ucx")
                          ? std::make_shared<UcxWorker>(context.session->network().ucx_devices)
                          : nullptr;
  std::vector<int> leaders;
  for (int node = 0; node < topology.nodes(); ++node) {
    leaders.push_back(topology.ranks_of_node(node).front());
  }
  const bool leads = topology.local_rank(comms.rank) == 0;
  for (const AllReduceAlgorithm algorithm : kAllReduceAlgorithms) {
    auto comm = make_across(context, leads ? leaders : std::vector<int>{comms.rank}, worker,
                            {{0, algorithm}});
    targets.push_back({LinkGroup::cross, std::string(name(algorithm)), WireFormat::f32, max_bytes,
                       leads ? comm : nullptr});
  }
  if (shared_nodes) {
    targets.push_back({LinkGroup::world, "flat", WireFormat::f32, max_bytes,
                       make_across(context, context.session->all_ranks(), worker,
                                   default_algorithms(comms.ranks()))});
  }
  return targets;
}

}  // namespace spd
