#include "comm/backends.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "comm/hierarchical_communicator.h"
#include "comm/machine.h"

namespace spd {

namespace {

// Below, one rank a node talks: fewer messages. Above, the ranks of a node share the sums, the
// copies to and from the network, and its links: where a node has several, rails pay sooner, for
// each halves what a link carries.
constexpr std::size_t kRailsFromBytes = 64 * 1024;

AlgorithmTable table_for(int ranks, const AlgorithmTable& wanted) {
  return wanted.empty() ? default_algorithms(ranks) : wanted;
}

int rails_of(const Topology& topology) {
  const std::vector<int> sizes = topology.ranks_per_node();
  return *std::min_element(sizes.begin(), sizes.end());
}

/// The ranks of all nodes with this rank's local rank; this rank alone where it is beyond the
/// rails.
std::vector<int> rail_ranks(const Topology& topology, int rank, int rails) {
  const int local = topology.local_rank(rank);
  if (local >= rails) return {rank};
  std::vector<int> ranks;
  for (int r = 0; r < topology.ranks(); ++r) {
    if (topology.local_rank(r) == local) ranks.push_back(r);
  }
  return ranks;
}

/// As UCX_NET_DEVICES has them, or null for all.
const char* devices_of(const JobNetwork& network) {
  return network.ucx_devices.empty() ? std::getenv("UCX_NET_DEVICES") : network.ucx_devices.c_str();
}

}  // namespace

IntraBackend parse_intra_backend(std::string_view text) {
  if (text == "auto") return IntraBackend::automatic;
  if (text == "shm") return IntraBackend::shm;
  if (text == "mpi") return IntraBackend::mpi;
  if (text == "thread") return IntraBackend::thread;
  throw Error(ErrorCode::usage, fmt::format("--intra {} is not a backend", text),
              "use auto, shm, mpi or thread");
}

InterBackend parse_inter_backend(std::string_view text) {
  if (text == "auto") return InterBackend::automatic;
  if (text == "ucx") return InterBackend::ucx;
  if (text == "mpi") return InterBackend::mpi;
  throw Error(ErrorCode::usage, fmt::format("--inter {} is not a backend", text),
              "use auto, ucx or mpi");
}

void check_rails(int rails, const Topology& topology) {
  const int most = rails_of(topology);
  if (rails >= 0 && rails <= most) return;
  throw Error(
      ErrorCode::usage,
      fmt::format("--rails {}: the smallest node has {} rank{}", rails, most, most == 1 ? "" : "s"),
      most == 1 ? "leave it out" : fmt::format("use 1 to {}", most));
}

ProcessComms::ProcessComms(MpiSession& session, const BackendOptions& options)
    : rank_(session.rank()), topology_(session.topology()) {
  check_rails(options.rails, topology_);
  session.network();  // first, lest a wrong --nic be found late
  make_node(session, options.intra);
  if (topology_.nodes() > 1 || (options.flat && options.inter != InterBackend::automatic)) {
    make_across(session, options);
    return;
  }
  world_ = node_;
  choices_.push_back({"all ranks", world_->backend(), "there is one node: no hop across nodes"});
}

void ProcessComms::make_node(MpiSession& session, IntraBackend wanted) {
  if (wanted == IntraBackend::thread) {
    throw Error(ErrorCode::usage, "--intra thread, but these ranks are processes",
                "for ranks as threads of one process: --virtual-ranks R, without mpirun");
  }
  const bool alone = rails_of(topology_) == 1 && session.size() == topology_.nodes();
  std::string reason = "asked for by --intra";
  if (alone) {
    wanted = IntraBackend::mpi;
    reason = "one rank a node: nobody to talk to";
  } else if (wanted == IntraBackend::automatic) {
    reason = "ranks of a node share memory";
  }
  if (wanted != IntraBackend::mpi) {
    // Made on all nodes or on none, so that the groups of all ranks stay numbered alike.
    std::string problem;
    try {
      auto shm = make_shm_communicator(session.group(session.node_ranks()));
      reason += ", " + shm->stores();
      node_ = std::move(shm);
    } catch (const Error& error) {
      if (wanted == IntraBackend::shm) throw;
      problem = error.what();
    }
    if (session.all_agree(problem.empty())) {
      choices_.push_back({"within a node", "shm", reason});
      return;
    }
    reason =
        "shared memory cannot be had" + (problem.empty() ? " on another node" : ": " + problem);
  }
  const AlgorithmTable table = default_algorithms(static_cast<int>(session.node_ranks().size()));
  node_ = make_mpi_communicator(session.group(session.node_ranks()), table);
  const std::vector<int> per_node = topology_.ranks_per_node();
  for (const int ranks : per_node) {
    if (order_varies_with_size(default_algorithms(ranks), ranks)) {
      sums_vary_with_size_ = "within nodes";
    }
  }
  choices_.push_back({"within a node", alone ? "none" : "mpi", reason});
}

std::shared_ptr<Communicator> ProcessComms::make_inter(MpiSession& session,
                                                       const std::vector<int>& ranks,
                                                       const BackendOptions& options) {
  const AlgorithmTable table = table_for(static_cast<int>(ranks.size()), options.algorithms);
  if (worker_) return make_ucx_communicator(session.group(ranks), worker_, table);
  return make_mpi_communicator(session.group(ranks), table);
}

void ProcessComms::start_ucx(MpiSession& session, InterBackend asked) {
  const JobNetwork& network = session.network();
  std::string reason = "asked for by --inter";
  std::string problem;
  if (asked != InterBackend::mpi) {
    if (asked == InterBackend::automatic) {
      reason = "tells of lost peers, and picks the fastest network there is";
    }
    try {
      worker_ = std::make_shared<UcxWorker>(network.ucx_devices);
    } catch (const Error& error) {
      if (asked == InterBackend::ucx) throw;
      problem = error.what();
    }
    if (!session.all_agree(problem.empty())) {
      worker_.reset();
      reason = "UCX does not start" + (problem.empty() ? " on another rank" : ": " + problem);
    }
  }
  choices_.push_back({"across nodes", worker_ ? "ucx" : "mpi", reason});
  choices_.push_back({"network", network.description, network.reason});
}

void ProcessComms::make_across(MpiSession& session, const BackendOptions& options) {
  start_ucx(session, options.inter);
  const int across = options.flat ? session.size() : topology_.nodes();
  const AlgorithmTable table = table_for(across, options.algorithms);
  choices_.push_back(
      {options.flat ? "all-reduce of all ranks" : "all-reduce across nodes", to_string(table),
       options.algorithms.empty() ? "fastest for the group's size, from so many bytes on"
                                  : "asked for by --algo"});
  if (order_varies_with_size(table, across)) sums_vary_with_size_ = "across nodes";
  if (options.flat) {
    world_ = make_inter(session, session.all_ranks(), options);
    choices_.push_back({"all ranks", "flat", "asked for by --flat"});
  } else {
    make_hierarchical(session, options);
  }
}

void ProcessComms::make_hierarchical(MpiSession& session, const BackendOptions& options) {
  const int rails = rails_of(topology_);
  rail_ = make_inter(session, rail_ranks(topology_, rank_, rails), options);
  const int nics =
      session.least(networks_between_nodes(discover_nics(), devices_of(session.network())));
  const std::size_t from_bytes = kRailsFromBytes / std::min(nics, rails);
  HierarchicalCommunicator::Settings settings;
  settings.rails = options.rails > 0 ? options.rails : rails;
  settings.rails_from_bytes = options.rails > 0 ? 0 : from_bytes;
  settings.across_backend = worker_ ? "ucx" : "mpi";
  world_ = std::make_shared<HierarchicalCommunicator>(
      topology_, rank_, node_, rail_, session.group(session.all_ranks()).settings, settings);
  choices_.push_back({"all ranks", "hierarchical", "each payload crosses to a node once"});
  choices_.push_back({"rails",
                      settings.rails == 1 ? "1"
                      : options.rails > 0 ? std::to_string(settings.rails)
                                          : fmt::format("1, {} from {} bytes", rails, from_bytes),
                      options.rails > 0 ? "asked for by --rails"
                      : rails == 1      ? "the smallest node has one rank"
                                        : fmt::format("{} NIC(s) a node; few messages while "
                                                           "small, many hands once large",
                                                      nics)});
}

RankComms ProcessComms::comms() const {
  const bool leads = topology_.local_rank(rank_) == 0;
  const bool covers = world_ == node_ || rail_ != nullptr;
  return {rank_, topology_, world_.get(), node_.get(), leads ? rail_.get() : nullptr, covers};
}

}  // namespace spd
