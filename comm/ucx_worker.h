// UCX in this process: one worker, and an endpoint to every rank it talks to.
// UCP API: https://openucx.readthedocs.io/en/master/api.html
#pragma once

#include <ucp/api/ucp.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace spd {

/// Throws comm Error "ucp_worker_create: <what UCX says>" unless `status` is UCS_OK.
void check_ucx(ucs_status_t status, const char* call);

/// One per process, shared by all groups. Settings come from the UCX_* environment variables.
/// One thread at a time.
class UcxWorker {
 public:
  /// `devices`: the networks that it listens on and talks over, as UCX_NET_DEVICES takes them;
  /// empty: as the environment says. Throws comm Error where UCX does not start.
  explicit UcxWorker(const std::string& devices);
  ~UcxWorker();
  UcxWorker(const UcxWorker&) = delete;
  UcxWorker& operator=(const UcxWorker&) = delete;

  ucp_worker_h get() const { return worker_; }
  /// What others need to connect to this process; to be exchanged by other means.
  std::vector<std::byte> address() const;
  /// The endpoint to a rank of the job, made from its address on the first call. Throws comm Error.
  ucp_ep_h endpoint(int job_rank, const std::vector<std::byte>& address);
  /// What UCX said when the connection to a rank of the job broke, or null.
  const std::string* failure(int job_rank) const;
  /// Whether any connection has broken.
  bool has_failures() const { return failures_ > 0; }
  /// The job is lost: connections will be closed without waiting for anyone.
  void abandon() { abandoned_ = true; }
  /// Completes what UCX can complete by itself, such as cancelled requests.
  void progress_until_idle();

 private:
  struct Peer {
    UcxWorker* worker = nullptr;
    ucp_ep_h endpoint = nullptr;
    std::string failure;
  };
  static void on_failure(void* peer, ucp_ep_h endpoint, ucs_status_t status);
  void close_endpoints();

  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  int failures_ = 0;
  bool abandoned_ = false;
  std::map<int, std::unique_ptr<Peer>> peers_;  // by rank of the job; addresses must not change
};

}  // namespace spd
