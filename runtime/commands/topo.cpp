// spd topo: what the ranks run on, how they are joined, and what an all-reduce costs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/device/cpu_device.h"
#include "kernels/device/error.h"
#include "runtime/cluster/inventory.h"
#include "runtime/cluster/link_table.h"
#include "runtime/cluster/topology_file.h"
#include "runtime/commands/command.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/progress.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    "spd topo: discover the nodes, and measure what links and all-reduces take.\n\n"
    "  mpirun -n R spd topo [options]";
constexpr const char* kExamples =
    "Groups: \"node\" are the ranks of a node, on all nodes at once; \"cross\" is one rank of "
    "each\n"
    "node; \"world\" is all ranks. A sync of level full is an all-reduce of world, one of level "
    "node\n"
    "an all-reduce of node. Times are the slowest rank's, sizes those of the f32 numbers summed "
    "up,\n"
    "whatever they travel as. The fit, alpha + bytes * beta by segments, is what spd plan "
    "predicts\n"
    "from; it is checked at sizes that it was not made from.\n\n"
    "Examples:\n"
    "  mpirun -n 4 spd topo --json topology.json\n"
    "  mpirun -n 4 spd bench -m DIR --algo topology.json     the algorithms that were fastest "
    "there\n"
    "  scripts/emulate-nodes.sh once -N 2 --rate 1gbit -- run -n 4 spd topo\n";

constexpr double kMiB = 1024.0 * 1024.0;

struct TopoOptions {
  StartOptions start;
  NamedFiles files;
  double seconds = 11.0;
  std::size_t max_kib = 4096;
  bool skip_algorithms = false;
  std::string json;

  void parse(const std::vector<std::string>& arguments) {
    po::options_description work("Probing");
    work.add_options()                                                                  //
        ("seconds", po::value(&seconds)->value_name("S"),                               //
         "time to spend on all-reduces, roughly (default 11)")                          //
        ("max-kib", po::value(&max_kib)->value_name("N"),                               //
         "largest all-reduce (default 4096; 512 tokens of hidden size 4096 are 8192)")  //
        ("no-algorithms", po::bool_switch(&skip_algorithms),                            //
         "time only what the runtime would use, not every algorithm")                   //
        ("json", po::value(&json)->value_name("FILE"),                                  //
         "write everything as JSON, for spd plan --topology; -: to stdout")             //
        ("config", po::value<std::string>()->value_name("FILE"),                        //
         "read options from a file of lines \"name = value\"; the command line wins")   //
        ("help,h", "this text");
    po::options_description all;
    all.add(work).add(start.describe());
    files = parse_arguments(all, arguments, kUsage, kExamples);
    if (!(seconds > 0 && seconds < 1e5) || max_kib < 1 || max_kib > (1u << 20)) {
      throw Error(ErrorCode::usage, "--seconds or --max-kib is out of range",
                  "give some seconds, and 1 to 1048576 KiB");
    }
  }
};

std::string speed_text(const nlohmann::json& nic) {
  return nic.contains("gbit_per_s") ? fmt::format(" {:g} Gbit/s", nic["gbit_per_s"].get<double>())
                                    : "";
}

void print_node(const nlohmann::json& node) {
  say("{}: ranks {}; {}, {} core(s) of which rank {} may use {}, {} NUMA node(s), {:.1f} "
      "GiB\n",
      node["name"].get<std::string>(), fmt::join(node["ranks"].get<std::vector<int>>(), ","),
      node["cpu"].get<std::string>(), node["cores"].get<int>(), node["ranks"][0].get<int>(),
      node["usable_cores"].get<int>(), node["numa_nodes"].get<int>(),
      node["memory_bytes"].get<double>() / kMiB / 1024);
  std::string networks;
  for (const auto& nic : node["nics"]) {
    networks +=
        fmt::format("{}{} ({}{})", networks.empty() ? "" : ", ", nic["name"].get<std::string>(),
                    nic["kind"].get<std::string>(), speed_text(nic));
  }
  say("  networks: {}\n", networks.empty() ? "none" : networks);
  if (node.contains("gpus_absent")) {
    say("  GPUs: none ({})\n", node["gpus_absent"].get<std::string>());
    return;
  }
  for (std::size_t i = 0; i < node["gpus"].size(); ++i) {
    const auto& gpu = node["gpus"][i];
    say("  GPU {}: {}, {:.0f} GiB, {}\n", i, gpu["name"].get<std::string>(),
        gpu["memory_bytes"].get<double>() / kMiB / 1024, gpu["pci_address"].get<std::string>());
  }
  for (const auto& pair : node.value("gpu_pairs", nlohmann::json::array())) {
    say("  GPUs {}-{}: {} NVLink(s), PCIe path {}, peer access {}\n", pair["gpus"][0].get<int>(),
        pair["gpus"][1].get<int>(), pair["nvlinks"].get<int>(), pair["pcie"].get<std::string>(),
        pair["peer_access"].get<bool>() ? "yes" : "no");
  }
}

void print_backends(const std::vector<BackendChoice>& choices) {
  say("\nbackends\n");
  for (const BackendChoice& choice : choices) {
    say("  {:<24} {:<14} {}\n", choice.what, choice.chosen, choice.reason);
  }
}

void print_fit(const LinkModel& links) {
  say("\nfit: alpha + bytes * beta\n  {:<6} {:<5} {:>10} {:>12} {:>12} {:>12}\n", "group", "wire",
      "from", "alpha us", "beta us/KiB", "1/beta GB/s");
  for (const LinkCurve& curve : links.curves()) {
    if (curve.algorithm != LinkCurve::kAuto) continue;
    for (const LinkSegment& segment : curve.segments) {
      say("  {:<6} {:<5} {:>10} {:>12.1f} {:>12.3f} {:>12}\n", name(curve.group), name(curve.wire),
          bytes_text(segment.from_bytes), segment.alpha_us, segment.us_per_byte * 1024,
          segment.us_per_byte > 0 ? fmt::format("{:.3f}", 1e-3 / segment.us_per_byte) : "-");
    }
  }
}

void print_check(std::vector<FitCheck> held_out) {
  if (held_out.empty()) return;
  std::sort(held_out.begin(), held_out.end(), [](const FitCheck& a, const FitCheck& b) {
    return std::abs(a.error()) < std::abs(b.error());
  });
  const auto within = std::count_if(held_out.begin(), held_out.end(), [](const FitCheck& sample) {
    return std::abs(sample.error()) <= 0.15;
  });
  const FitCheck& worst = held_out.back();
  say("fit checked at {} other sizes: median error {:.1f} %, {} within 15 %, worst {:+.1f} % "
      "({} {} at {}: {:.1f} us predicted, {:.1f} us measured)\n",
      held_out.size(), 100 * std::abs(held_out[held_out.size() / 2].error()), within,
      100 * worst.error(), name(worst.group), name(worst.wire), bytes_text(worst.bytes),
      worst.predicted_us, worst.measured_us);
}

void print_links(const TopologyFile& topology, const std::vector<FitCheck>& held_out) {
  const LinkModel& links = topology.links;
  for (const LinkGroup group : kLinkGroups) {
    say("{}{}", wires_table(links, group), algorithms_table(links, group));
  }
  if (links.find(LinkGroup::cross, WireFormat::f32, name(AllReduceAlgorithm::one_shot))) {
    say("\nfastest across nodes, f32: --algo {}\n", to_string(fastest_algorithms(links)));
  }
  print_fit(links);
  print_check(held_out);
}

nlohmann::json to_json(const FitCheck& sample) {
  return {{"group", name(sample.group)},
          {"wire", name(sample.wire)},
          {"bytes", sample.bytes},
          {"measured_p50_us", sample.measured_us},
          {"predicted_us", sample.predicted_us}};
}

/// Times pairs of ranks, prints and returns them.
nlohmann::json measure_pairs(RankContext& context, const std::vector<nlohmann::json>& nodes,
                             const std::function<void()>& safe_point) {
  nlohmann::json json = nlohmann::json::array();
  for (const RankPair& pair : pairs_to_probe(context.comms.topology, nodes)) {
    const auto comm = make_pair_communicator(context, pair);
    const PairTimes times = probe_pair(context.comms, comm.get());
    safe_point();
    if (context.root()) {
      if (json.empty()) {
        say("\nlinks between two ranks    latency us, one way: p50       p99    GB/s\n");
      }
      say("  {:<16} {:>7} {:>31.2f} {:>9.2f} {:>7.3f}\n", pair.where,
          fmt::format("{}-{}", pair.first, pair.second), times.latency_us.p50, times.latency_us.p99,
          times.bandwidth_gb_per_s);
    }
    json.push_back({{"where", pair.where},
                    {"ranks", {pair.first, pair.second}},
                    {"latency_us", to_json(times.latency_us)},
                    {"bandwidth_gb_per_s", times.bandwidth_gb_per_s}});
  }
  return json;
}

}  // namespace

void run_topo(RankContext& context, const std::vector<std::string>& arguments) {
  TopoOptions options;
  options.parse(arguments);
  check_apart(context, options.files);
  const OutputFile results = open_output(context, "--json", options.json);
  const Topology& topology = context.comms.topology;
  const auto nodes = survey_nodes(context.comms);
  if (context.root()) {
    say("{} rank(s) on {} node(s)\n", topology.ranks(), topology.nodes());
    for (const auto& node : nodes) print_node(node);
    print_backends(context.backends);
  }

  TopologyFile file{fmt::format("{} rank(s) on {} node(s)", topology.ranks(), topology.nodes()),
                    "measured by spd topo", LinkModel(topology.ranks_per_node(), {})};
  nlohmann::json pairs = nlohmann::json::array();
  LinkProbe probe;
  if (context.is_virtual || context.ranks() == 1) {
    if (context.root()) {
      say("\nno links to measure: {}\n",
          context.is_virtual ? "virtual ranks are threads of one process and send nothing; "
                               "run spd topo under mpirun where the model is to run"
                             : "there is one rank; use mpirun -n R");
      if (results) {
        say("{} tells of this machine, but not what an all-reduce takes: spd plan and --algo "
            "cannot "
            "use it\n",
            options.json);
      }
    }
  } else {
    CpuDevice device;
    const auto stream = device.make_stream();
    std::optional<Progress> bar;
    const auto safe_point = [&] {
      const auto why = find_interruption(context.comms, *stream);
      if (!why) return;
      bar.reset();
      stop(*why, "nothing was kept",
           "the same command begins anew; --seconds and --no-algorithms make it shorter");
    };
    pairs = measure_pairs(context, nodes, safe_point);
    const auto targets = probe_targets(context, options.max_kib * 1024, !options.skip_algorithms);
    probe = probe_all_reduces(context.comms, targets, options.seconds,
                              [&](std::int64_t done, std::int64_t of) {
                                if (!bar) bar.emplace("all-reduces", of, context.root());
                                bar->update(done);
                                safe_point();
                              });
    bar.reset();
    file.links = LinkModel(topology.ranks_per_node(), probe.curves);
    if (context.root()) print_links(file, probe.held_out);
  }

  nlohmann::json json = to_json(file);
  json["virtual"] = context.is_virtual;
  json["node_of_rank"] = topology.node_of_rank;
  json["nodes"] = nodes;
  json["links"] = pairs;
  json["backends"] = nlohmann::json::array();
  for (const BackendChoice& choice : context.backends) {
    json["backends"].push_back(
        {{"what", choice.what}, {"chosen", choice.chosen}, {"reason", choice.reason}});
  }
  json["held_out"] = nlohmann::json::array();
  for (const FitCheck& sample : probe.held_out) json["held_out"].push_back(to_json(sample));
  write_json(context, results, json);
}

}  // namespace spd
