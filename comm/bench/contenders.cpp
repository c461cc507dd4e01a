#include "comm/bench/contenders.h"

#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <map>

namespace spd {

namespace {

constexpr const char* kNames =
    "use shm, mpi, ucx, hierarchical, leaders or rails, with :ALGORITHM or @WIRE behind";

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

/// One after the other of BACKEND[:ALGORITHM][@WIRE].
Contender make(MpiSession& session, const std::string& name,
               std::map<std::string, std::shared_ptr<ProcessComms>>& made) {
  Contender contender{name, nullptr, WireFormat::f32, nullptr};
  const std::size_t at = name.find('@');
  const std::string groups = name.substr(0, at);
  if (at != std::string::npos) contender.wire = parse_wire_format(name.substr(at + 1));
  std::shared_ptr<ProcessComms>& comms = made[groups];
  if (!comms) {
    const std::size_t colon = groups.find(':');
    const std::string backend = groups.substr(0, colon);
    BackendOptions options;
    if (colon != std::string::npos) {
      options.algorithms = parse_algorithm_table(groups.substr(colon + 1));
    }
    options.flat = backend == "ucx" || backend == "mpi";
    options.inter = backend == "mpi" ? InterBackend::mpi : InterBackend::ucx;
    if (backend == "rails") {
      const std::vector<int> sizes = session.topology().ranks_per_node();
      options.rails = *std::min_element(sizes.begin(), sizes.end());
    } else if (backend == "leaders") {
      options.rails = 1;
    } else if (!options.flat && backend != "shm" && backend != "hierarchical") {
      throw Error(ErrorCode::usage, fmt::format("unknown all-reduce \"{}\"", name), kNames);
    }
    const bool needs_nodes = !options.flat && backend != "shm";
    if (needs_nodes != (session.topology().nodes() > 1) && !options.flat) {
      throw Error(ErrorCode::usage,
                  fmt::format("\"{}\" on {} node(s)", name, session.topology().nodes()),
                  "shm is for one node, hierarchical for several");
    }
    comms = std::make_shared<ProcessComms>(session, options);
  }
  contender.comm = comms->comms().world;
  contender.owner = comms;
  return contender;
}

}  // namespace

std::vector<Contender> make_contenders(MpiSession& session, std::vector<std::string> names) {
  if (names.empty() && session.topology().nodes() == 1) names = {"shm", "mpi", "ucx"};
  if (names.empty()) names = {"ucx", "hierarchical", "hierarchical@bf16", "hierarchical@int8"};
  std::vector<Contender> contenders;
  const auto baseline = std::make_shared<MpiAllreduce>(session.rank(), session.size());
  contenders.push_back({"MPI_Allreduce", baseline.get(), WireFormat::f32, baseline});
  std::map<std::string, std::shared_ptr<ProcessComms>> made;
  for (const std::string& name : names) contenders.push_back(make(session, name, made));
  return contenders;
}

}  // namespace spd
