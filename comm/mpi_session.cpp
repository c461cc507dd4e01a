#include "comm/mpi_session.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <thread>

#include "comm/failure/launcher_signal.h"
#include "comm/listen_address.h"
#include "comm/machine.h"
#include "comm/node_split.h"
#include "kernels/device/log.h"

#if defined(__SANITIZE_ADDRESS__)
#define SPD_LEAK_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPD_LEAK_SANITIZER 1
#endif
#endif
#ifdef SPD_LEAK_SANITIZER
/// Open MPI unloads its plug-ins together with what they leak, so that no suppression can name it:
/// a process that has used MPI is not searched for leaks. See <sanitizer/lsan_interface.h>.
extern "C" int __lsan_is_turned_off() {
  int started = 0;
  return MPI_Initialized(&started) == MPI_SUCCESS && started != 0 ? 1 : 0;
}
#endif

namespace spd {

namespace {

constexpr int kGraceParts = 5;            // the failure detector's part of the deadline: a fifth
constexpr unsigned kReporterSeconds = 2;  // for the one message to be printed
constexpr unsigned kAbortSeconds = 5;     // for the launcher to answer an abort

void start(int* argc, char*** argv) {
  int provided = 0;
  check_mpi(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (provided < MPI_THREAD_FUNNELED) {
    throw Error(ErrorCode::system, "this MPI cannot be used from a program with threads",
                "use an MPI built with MPI_THREAD_FUNNELED");
  }
}

const char* variable(const char* name) { return std::getenv(name); }

MpiNetwork told_open_mpi(const std::string& nic) {
  const MpiNetwork network = choose_for_mpi(nic, variable, ipv4_interfaces());
  tell_open_mpi(network, nic, has_rdma(), variable);
  return network;
}

// The deadline of a start, and what it ends with.
std::unique_ptr<StartWatch> watch_start(Communicator::Milliseconds deadline) {
  const auto claim = launcher_claim(variable);
  const auto limit = std::max(deadline, StartWatch::kLeastForStart);
  const std::string peers =
      claim ? fmt::format("the {} that the launcher started", claim->ranks) : "its peers";
  return std::make_unique<StartWatch>(
      limit, claim ? claim->rank : 0,
      fmt::format("rank {}: MPI did not start within {:.1f} s: not all of {} have joined",
                  claim ? std::to_string(claim->rank) : "unknown",
                  std::chrono::duration<double>(limit).count(), peers),
      "see that spd starts on every host, and that the hosts reach each other (--nic); allow more "
      "time with --deadline");
}

MpiComm started_world(int* argc, char*** argv, const MpiNetwork& network) {
  std::optional<ListenAddress> listen;
  if (network.interface) listen.emplace(network.interface->address);
  start(argc, argv);
  return MpiComm::duplicate(MPI_COMM_WORLD);
}

}  // namespace

MpiSession::MpiSession(int* argc, char*** argv, Communicator::Milliseconds deadline,
                       std::string nic)
    : deadline_(deadline),
      exceptions_at_start_(std::uncaught_exceptions()),
      nic_(std::move(nic)),
      own_network_(told_open_mpi(nic_)),
      starting_(watch_start(deadline)),
      world_(started_world(argc, argv, own_network_)),
      node_(split_by_node(world_)) {
  listen_to_launcher();
  discover();
  failure_detector_ = std::make_shared<FailureDetector>(world_.get(), members(all_ranks()),
                                                        deadline_ / kGraceParts);
  end_ = world();
  starting_.reset();
}

StartWatch MpiSession::watch(const char* what) const {
  return StartWatch(deadline_, rank(),
                    fmt::format("rank {} (host {}): {} over MPI took longer than {:.1f} s: another "
                                "rank did not come",
                                rank(), hosts_.at(rank()), what,
                                std::chrono::duration<double>(deadline_).count()),
                    "look for a rank that was stopped; allow more time with --deadline");
}

void MpiSession::discover() {
  // Each rank tells its node's lowest rank, the cores it may use and its host name.
  struct Entry {
    int leader;
    cpu_set_t cores;
    std::array<char, MPI_MAX_PROCESSOR_NAME> host;
  };
  Entry mine{rank(), {}, {}};
  sched_getaffinity(0, sizeof mine.cores, &mine.cores);
  int length = 0;
  check_mpi(MPI_Get_processor_name(mine.host.data(), &length), "MPI_Get_processor_name");
  check_mpi(MPI_Bcast(&mine.leader, 1, MPI_INT, 0, node_.get()), "MPI_Bcast");
  std::vector<Entry> all(size());
  check_mpi(
      MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, world_.get()),
      "MPI_Allgather");
  std::vector<int> leaders;
  cpu_set_t node_cores{};
  for (const Entry& entry : all) {
    auto at = std::find(leaders.begin(), leaders.end(), entry.leader);
    if (at == leaders.end()) {
      at = leaders.insert(leaders.end(), entry.leader);
      topology_.node_names.emplace_back(entry.host.data());
    }
    topology_.node_of_rank.push_back(static_cast<int>(at - leaders.begin()));
    hosts_.emplace_back(entry.host.data());
    if (entry.leader == mine.leader) CPU_OR(&node_cores, &node_cores, &entry.cores);
  }
  spin_ = CPU_COUNT(&node_cores) >= node_.size();
}

MpiSession::~MpiSession() {
  if (MpiComm::finalized()) return;
  const bool leaving_by_exception = std::uncaught_exceptions() > exceptions_at_start_;
  // Without MPI_Finalize the launcher takes the process for failed and ends the others, which is
  // right when this rank failed and the only way out when a peer is dead.
  if (leaving_by_exception || failure_detector_->exchanged()) return;
  try {
    end_->barrier({"end"});
  } catch (const CommError& error) {
    if (error.reporter()) spdlog::error("{}", error.what());
    abort(error.exit_status(), error.reporter());
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    abort(EXIT_FAILURE);
  }
  end_.reset();
  failure_detector_.reset();
  node_ = {};
  world_ = {};
  MPI_Finalize();
}

GroupMembers MpiSession::members(const std::vector<int>& job_ranks) const {
  GroupMembers members{job_ranks, {}, {}};
  for (int rank : job_ranks) {
    members.hosts.push_back(hosts_[rank]);
    members.nodes.push_back(topology_.node_of(rank));
  }
  return members;
}

ProcessGroup MpiSession::group(const std::vector<int>& job_ranks) {
  // Every rank makes its groups in the same order, so groups of one call differ by their lowest
  // rank.
  const int id = groups_made_++ * size() + job_ranks.front();
  const StartWatch watching = watch("making a group");
  return {MpiComm::split(world_.get(), job_ranks.front()),
          {id, members(job_ranks), deadline_, failure_detector_, spin_}};
}

bool MpiSession::all_agree(bool mine) const { return least(mine ? 1 : 0) != 0; }

const JobNetwork& MpiSession::network() {
  if (!network_) {
    const StartWatch watching = watch("choosing a network");
    network_ = agree_on_network(world_, topology_, nic_);
  }
  return *network_;
}

int MpiSession::least(int mine) const {
  const StartWatch watching = watch("agreeing");
  int all = 0;
  check_mpi(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, world_.get()), "MPI_Allreduce");
  return all;
}

std::vector<int> MpiSession::all_ranks() const {
  std::vector<int> ranks(size());
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

std::unique_ptr<Communicator> MpiSession::world() {
  return make_mpi_communicator(group(all_ranks()), default_algorithms(size()));
}

std::unique_ptr<Communicator> MpiSession::node() {
  return make_mpi_communicator(group(node_ranks()), default_algorithms(node_.size()));
}

void MpiSession::abort(int status, bool reporter) noexcept {
  std::fflush(nullptr);
  // The launcher may be what is broken: then the alarm's default action ends this process.
  alarm(kReporterSeconds + kAbortSeconds);
  if (!reporter) {
    // The reporter's abort makes the launcher end us; there is no need to wait for the end of it.
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(kReporterSeconds);
    while (std::chrono::steady_clock::now() < until) {
      if (failure_detector_ && failure_detector_->ended_by_launcher()) std::_Exit(status);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

}  // namespace spd
