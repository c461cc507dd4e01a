// Run by mpirun: checks the communicators of processes, or behaves badly as told.
//   mpi_program BACKEND collectives [ROUNDS]      BACKEND: mpi, ucx (flat), shm (a node alone),
//                                                 hierarchical[+rails], mpi-hierarchical[+rails]
//   mpi_program BACKEND kill|stop|absent|mismatch|throw RANK      one rank fails; 2 s deadline
//   mpi_program BACKEND command RANK     one rank runs $SPD_TEST_COMMAND first: to harm its link;
//                                        $SPD_TEST_DEADLINE: seconds, other than 2
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <string_view>

#include "comm/backends.h"
#include "comm/failure/collective.h"
#include "comm/mpi_session.h"
#include "kernels/device/cpu_device.h"
#include "tests/comm/collective_checks.h"
#include "tests/comm/payload.h"

namespace spd {
namespace {

/// MPI's own collectives, blocking: what ours are compared with.
class Oracle final : public Communicator {
 public:
  int rank() const override { return value(MPI_Comm_rank); }
  int size() const override { return value(MPI_Comm_size); }
  const char* backend() const override { return "oracle"; }

 private:
  static int value(int (*ask)(MPI_Comm, int*)) {
    int result = 0;
    ask(MPI_COMM_WORLD, &result);
    return result;
  }
  void do_all_reduce(float* data, std::size_t count, WireFormat, Stream&,
                     const CallSite&) override {
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, data, static_cast<int>(count), MPI_FLOAT, MPI_SUM,
                            MPI_COMM_WORLD),
              "MPI_Allreduce");
  }
  void do_all_gather(const void* send, void* recv, std::size_t bytes, Stream&,
                     const CallSite&) override {
    const int count = static_cast<int>(bytes);
    check_mpi(MPI_Allgather(send, count, MPI_BYTE, recv, count, MPI_BYTE, MPI_COMM_WORLD),
              "MPI_Allgather");
  }
  void do_broadcast(void* data, std::size_t bytes, int root, Stream&, const CallSite&) override {
    check_mpi(MPI_Bcast(data, static_cast<int>(bytes), MPI_BYTE, root, MPI_COMM_WORLD),
              "MPI_Bcast");
  }
  void do_barrier(const CallSite&) override {
    check_mpi(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier");
  }
};

/// Ours against MPI_Allreduce on the same payloads: both round, so both may be off the true sum.
void compare_with_mpi(Communicator& comm, Stream& stream) {
  Oracle oracle;
  std::vector<int> ranks(comm.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  for (std::size_t count : {1, 7, 576, 4096, 65'537, 1 << 20}) {
    std::vector<float> ours = payload(comm.rank(), count, count);
    std::vector<float> theirs = ours;
    comm.all_reduce(ours.data(), count, stream, {"ours"});
    oracle.all_reduce(theirs.data(), count, stream, {"theirs"});
    ExpectedSum expected = expected_sum(ranks, count, count);
    for (std::size_t i = 0; i < count; ++i) expected.sum[i] = theirs[i];
    for (double& tolerance : expected.tolerance) tolerance *= 2;
    if (first_wrong(ours.data(), expected) >= 0) {
      throw std::runtime_error(fmt::format("{} elements: not what MPI_Allreduce gives", count));
    }
  }
}

/// What a backend under test gives: groups of all ranks and of this rank's node.
ProcessComms make(MpiSession& session, const std::string& backend) {
  BackendOptions options;
  const bool mpi = backend.starts_with("mpi");
  options.intra = mpi ? IntraBackend::mpi : IntraBackend::automatic;
  options.inter = mpi ? InterBackend::mpi : InterBackend::ucx;
  options.flat = backend == "mpi" || backend == "ucx";
  if (backend.ends_with("+rails")) {
    const std::vector<int> sizes = session.topology().ranks_per_node();
    options.rails = *std::min_element(sizes.begin(), sizes.end());
  }
  return ProcessComms(session, options);
}

void collectives(MpiSession& session, const std::string& backend, int rounds) {
  CpuDevice device;
  const auto stream = device.make_stream();
  const ProcessComms process = make(session, backend);
  const RankComms comms = process.comms();
  for (const BackendChoice& choice : process.choices()) {
    if (session.rank() == 0) {
      fmt::print("{}: {} ({})\n", choice.what, choice.chosen, choice.reason);
    }
  }
  std::vector<std::vector<int>> contributions;
  if (backend.find("hierarchical") != std::string::npos) {
    for (int node = 0; node < comms.topology.nodes(); ++node) {
      contributions.push_back(comms.topology.ranks_of_node(node));
    }
  }
  if (contributions.size() < 2) contributions.clear();
  Oracle oracle;
  check_collectives(*comms.world, oracle, *stream, session.all_ranks(), 1 << 20, rounds,
                    contributions);
  compare_with_mpi(*comms.world, *stream);
  const auto control = session.node();
  check_collectives(*comms.node, *control, *stream, session.node_ranks(), 1 << 16, rounds / 10);
  if (backend == "mpi") {
    for (AllReduceAlgorithm algorithm : kAllReduceAlgorithms) {
      const auto fixed =
          make_mpi_communicator(session.group(session.all_ranks()), {{0, algorithm}});
      check_collectives(*fixed, oracle, *stream, session.all_ranks(), 1 << 17, rounds / 5);
      compare_with_mpi(*fixed, *stream);
    }
  }
  if (session.rank() == 0) {
    fmt::print("{} collectives passed on {} ranks\n", backend, session.size());
  }
}

void misbehave(const std::string& how) {
  if (how == "kill") raise(SIGKILL);
  if (how == "stop") raise(SIGSTOP);
  if (how == "absent") sleep(60);
  if (how == "throw") throw Error(ErrorCode::input, "a broken file");
  if (how == "command" && std::system(std::getenv("SPD_TEST_COMMAND")) != 0) {
    throw Error(ErrorCode::system, "the command in SPD_TEST_COMMAND failed");
  }
}

/// Rounds of all-reduce in which one rank goes wrong in the third.
void fault(MpiSession& session, const std::string& backend, const std::string& how, int culprit) {
  CpuDevice device;
  const auto stream = device.make_stream();
  const ProcessComms process = make(session, backend);
  Communicator* world = process.comms().world;
  fmt::print("rank {} is process {}\n", session.rank(), getpid());
  std::fflush(stdout);
  std::vector<float> data(576);
  for (int block = 0; block < 6; ++block) {
    const bool wrong = block == 3 && session.rank() == culprit;
    if (wrong) misbehave(how);
    const std::size_t count = wrong && how == "mismatch" ? 64 : data.size();
    world->all_reduce(data.data(), count, *stream, {"attn", block});
  }
}

int run(MpiSession& session, int argc, char** argv) {
  const std::string backend = argc > 1 ? argv[1] : "";
  const std::string mode = argc > 2 ? argv[2] : "";
  const int number = argc > 3 ? std::atoi(argv[3]) : 0;
  try {
    if (mode == "collectives") {
      collectives(session, backend, number > 0 ? number : 1000);
    } else {
      fault(session, backend, mode, number);
    }
    return EXIT_SUCCESS;
  } catch (const CommError& error) {
    if (error.reporter()) fmt::print(stderr, "error: {}\n", error.what());
    session.abort(error.exit_status(), error.reporter());
  } catch (const Error& error) {
    fmt::print(stderr, "error: rank {}: {}\n", session.rank(), error.what());
    session.abort(error.exit_status());
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: rank {}: {}\n", session.rank(), error.what());
    session.abort(EXIT_FAILURE);
  }
}

}  // namespace
}  // namespace spd

int main(int argc, char** argv) {
  // Short for faults, long where a loaded machine must not look like one.
  const bool faults = argc > 2 && std::string_view(argv[2]) != "collectives";
  const char* given = std::getenv("SPD_TEST_DEADLINE");
  const int seconds = given ? std::atoi(given) : faults ? 2 : 30;
  spd::MpiSession session(&argc, &argv, std::chrono::seconds(seconds));
  return spd::run(session, argc, argv);
}
