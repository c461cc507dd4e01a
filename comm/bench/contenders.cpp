#include "comm/bench/contenders.h"

#include <fmt/format.h>
#include <mpi.h>

namespace spd {

namespace {

/// MPI_Allreduce as it is: blocking, without deadlines.
class MpiAllreduce final : public Communicator {
 public:
  MpiAllreduce(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const char* backend() const override { return "MPI_Allreduce"; }

 private:
  void do_all_reduce(float* data, std::size_t count, WireFormat, Stream&,
                     const CallSite&) override {
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, data, static_cast<int>(count), MPI_FLOAT, MPI_SUM,
                            MPI_COMM_WORLD),
              "MPI_Allreduce");
  }
  [[noreturn]] static void only_all_reduce() {
    throw Error(ErrorCode::internal, "this communicator only does all-reduce");
  }
  void do_all_gather(const void*, void*, std::size_t, Stream&, const CallSite&) override {
    only_all_reduce();
  }
  void do_broadcast(void*, std::size_t, int, Stream&, const CallSite&) override {
    only_all_reduce();
  }
  void do_barrier(const CallSite&) override { only_all_reduce(); }

  int rank_;
  int size_;
};

std::unique_ptr<Communicator> make(MpiSession& session, const std::string& name) {
  if (name == "shm") return make_shm_communicator(session.group(session.all_ranks()));
  if (name == "mpi") {
    return make_mpi_communicator(session.group(session.all_ranks()),
                                 default_algorithms(session.size()));
  }
  if (name.starts_with("mpi:")) {
    return make_mpi_communicator(session.group(session.all_ranks()),
                                 {{0, parse_all_reduce_algorithm(name.substr(4))}});
  }
  if (name == "ucx" || name.starts_with("ucx:")) {
    return make_ucx_communicator(
        session.group(session.all_ranks()), std::make_shared<UcxWorker>(),
        name == "ucx" ? default_algorithms(session.size())
                      : AlgorithmTable{{0, parse_all_reduce_algorithm(name.substr(4))}});
  }
  throw Error(ErrorCode::usage, fmt::format("unknown all-reduce \"{}\"", name),
              "use shm, mpi, mpi:ALGORITHM, ucx or ucx:ALGORITHM");
}

}  // namespace

std::vector<Contender> make_contenders(MpiSession& session, std::vector<std::string> names) {
  if (names.empty()) {
    names = {"mpi", "ucx"};
    if (session.topology().nodes() == 1) names.insert(names.begin(), "shm");
  }
  std::vector<Contender> contenders;
  contenders.push_back(
      {"MPI_Allreduce", std::make_unique<MpiAllreduce>(session.rank(), session.size())});
  for (const std::string& name : names) contenders.push_back({name, make(session, name)});
  return contenders;
}

}  // namespace spd
