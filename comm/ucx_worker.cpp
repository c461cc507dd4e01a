#include "comm/ucx_worker.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdlib>

#include "comm/machine.h"
#include "kernels/device/error.h"

namespace spd {

namespace {

// For what was sent last to leave; a peer that does not take it is gone.
constexpr std::chrono::milliseconds kCloseWithin{1000};

/// UCX's defaults suit RDMA. Over TCP a rendezvous is a round trip more and saves no copy, and
/// segments of 8 KiB are many system calls: 64 KiB took 1.27 of MPI_Allreduce's time with the
/// defaults and 0.6 of it with these, 1 MiB 1.2 with segments of 64 KiB and 0.6 with these. What
/// the user's environment says wins.
void tune_for_tcp(ucp_config_t* config) {
  struct Setting {
    const char* name;  ///< transports' settings go without the transport's prefix
    const char* value;
    const char* variable;
  };
  constexpr std::array kSettings{Setting{"RNDV_THRESH", "inf", "UCX_RNDV_THRESH"},
                                 Setting{"TX_SEG_SIZE", "256k", "UCX_TCP_TX_SEG_SIZE"},
                                 Setting{"RX_SEG_SIZE", "256k", "UCX_TCP_RX_SEG_SIZE"}};
  for (const Setting& setting : kSettings) {
    if (std::getenv(setting.variable) != nullptr) continue;
    // A UCX that does not know it has its own way.
    [[maybe_unused]] const auto known = ucp_config_modify(config, setting.name, setting.value);
  }
}

}  // namespace

void check_ucx(ucs_status_t status, const char* call) {
  if (status == UCS_OK) return;
  throw Error(ErrorCode::comm, fmt::format("{}: {}", call, ucs_status_string(status)),
              "check UCX_TLS and UCX_NET_DEVICES, or use --inter mpi");
}

UcxWorker::UcxWorker(const std::string& devices) {
  ucp_config_t* config = nullptr;
  check_ucx(ucp_config_read(nullptr, nullptr, &config), "ucp_config_read");
  if (!has_rdma()) tune_for_tcp(config);
  if (!devices.empty()) {
    check_ucx(ucp_config_modify(config, "NET_DEVICES", devices.c_str()), "ucp_config_modify");
  }
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME;
  params.features = UCP_FEATURE_TAG;
  params.name = "spd";
  const ucs_status_t status = ucp_init(&params, config, &context_);
  ucp_config_release(config);
  check_ucx(status, "ucp_init");
  ucp_worker_params_t worker_params{};
  worker_params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  worker_params.thread_mode = UCS_THREAD_MODE_SINGLE;
  const ucs_status_t made = ucp_worker_create(context_, &worker_params, &worker_);
  if (made != UCS_OK) {
    ucp_cleanup(context_);
    check_ucx(made, "ucp_worker_create");
  }
}

UcxWorker::~UcxWorker() {
  close_endpoints();
  ucp_worker_destroy(worker_);
  ucp_cleanup(context_);
}

void UcxWorker::close_endpoints() {
  std::vector<void*> closing;
  for (auto& [rank, peer] : peers_) {
    ucp_request_param_t param{};
    param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = abandoned_ || !peer->failure.empty() ? UCP_EP_CLOSE_FLAG_FORCE : 0;
    void* request = ucp_ep_close_nbx(peer->endpoint, &param);
    if (UCS_PTR_IS_PTR(request)) closing.push_back(request);
  }
  const auto until = std::chrono::steady_clock::now() + kCloseWithin;
  for (void* request : closing) {
    while (ucp_request_check_status(request) == UCS_INPROGRESS &&
           std::chrono::steady_clock::now() < until) {
      ucp_worker_progress(worker_);
    }
    ucp_request_free(request);
  }
}

std::vector<std::byte> UcxWorker::address() const {
  ucp_address_t* address = nullptr;
  std::size_t length = 0;
  check_ucx(ucp_worker_get_address(worker_, &address, &length), "ucp_worker_get_address");
  const auto* bytes = reinterpret_cast<const std::byte*>(address);
  std::vector<std::byte> copy(bytes, bytes + length);
  ucp_worker_release_address(worker_, address);
  return copy;
}

ucp_ep_h UcxWorker::endpoint(int job_rank, const std::vector<std::byte>& address) {
  auto& peer = peers_[job_rank];
  if (peer) return peer->endpoint;
  peer = std::make_unique<Peer>();
  peer->worker = this;
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(address.data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {on_failure, peer.get()};
  const ucs_status_t status = ucp_ep_create(worker_, &params, &peer->endpoint);
  if (status != UCS_OK) {
    peers_.erase(job_rank);
    check_ucx(status, "ucp_ep_create");
  }
  return peer->endpoint;
}

void UcxWorker::on_failure(void* peer, ucp_ep_h, ucs_status_t status) {
  auto& broken = *static_cast<Peer*>(peer);
  broken.failure = ucs_status_string(status);
  ++broken.worker->failures_;
}

void UcxWorker::progress_until_idle() {
  while (ucp_worker_progress(worker_) != 0) {
  }
}

const std::string* UcxWorker::failure(int job_rank) const {
  const auto at = peers_.find(job_rank);
  return at == peers_.end() || at->second->failure.empty() ? nullptr : &at->second->failure;
}

}  // namespace spd
