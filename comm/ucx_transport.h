// Messages over UCX tag matching.
#pragma once

#include <deque>
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
  void receive(int from, void* data, std::size_t bytes) override;
  void wait(Clock::time_point until, Interrupt* interrupt, std::size_t later) override;

 private:
  void do_send(int to, const void* data, std::size_t bytes) override;
  /// A message under way. UCX calls back when it is done, which may be before the call that starts
  /// it has returned.
  struct Message {
    UcxTransport* transport = nullptr;
    int peer = 0;
    std::size_t bytes = 0;  // to receive
    void* request = nullptr;
    bool done = false;
  };

  static void on_sent(void* request, ucs_status_t status, void* message);
  static void on_received(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info,
                          void* message);
  void finish(Message& message, ucs_status_t status, const char* wrong);
  Message& next_message(int peer, std::size_t bytes);
  ucp_tag_t tag(int from) const;
  bool first_are_done(std::size_t count) const;
  /// Frees the first of those under way.
  void release(std::size_t count);
  /// Throws peer_failed where a message went wrong or a peer that we wait for is known to be gone.
  void look_for_failures();
  [[noreturn]] void give_up(TransportFailure::Cause cause);

  std::shared_ptr<UcxWorker> worker_;
  std::vector<int> job_ranks_;       // [size]
  std::vector<ucp_ep_h> endpoints_;  // [size], own: null
  int rank_;
  int group_;
  bool spin_;
  std::deque<Message> messages_;     // addresses must not change
  std::vector<Message*> free_;       // of those
  std::vector<Message*> under_way_;  // in the order in which they were started
  std::size_t open_ = 0;             // of those, not done
  int failed_peer_ = -1;
  const char* failure_ = nullptr;
};

}  // namespace spd
