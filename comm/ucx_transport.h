// Messages over UCX tag matching.
#pragma once

#include <memory>
#include <vector>

#include "comm/mpi_handle.h"
#include "comm/transport.h"
#include "comm/ucx_worker.h"

namespace spd {

class UcxTransport final : public Transport {
 public:
  /// Collective over `comm`, which is used to exchange addresses and no more. `job_ranks` are those
  /// of the group; `group` tells its messages from those of other groups.
  UcxTransport(std::shared_ptr<UcxWorker> worker, MPI_Comm comm, std::vector<int> job_ranks,
               int group, bool spin);
  ~UcxTransport() override;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(endpoints_.size()); }
  const char* name() const override { return "ucx"; }
  void send(int to, const void* data, std::size_t bytes) override;
  void receive(int from, void* data, std::size_t bytes) override;
  void wait(Clock::time_point until, Interrupt* interrupt) override;

 private:
  struct Pending {
    void* request;
    int peer;
    bool receive;
    std::size_t bytes;
  };
  ucp_tag_t tag(int from) const;
  void check_length(int peer, std::size_t expected, std::size_t got);
  /// Frees what is done. False while something is not.
  bool collect();
  bool is_done(const Pending& pending);
  [[noreturn]] void give_up(TransportFailure::Cause cause, const std::string& detail);
  void look_for_failures();

  std::shared_ptr<UcxWorker> worker_;
  std::vector<int> job_ranks_;       // [size]
  std::vector<ucp_ep_h> endpoints_;  // [size], own: null
  int rank_;
  int group_;
  bool spin_;
  std::vector<Pending> pending_;
};

}  // namespace spd
