#include "comm/ucx_transport.h"

#include <algorithm>

#include "comm/waiting.h"

namespace spd {

namespace {

constexpr std::chrono::microseconds kInterruptPeriod{1000};
constexpr int kRankBits = 32;

std::vector<std::vector<std::byte>> exchange_addresses(MPI_Comm comm, int ranks,
                                                       const std::vector<std::byte>& mine) {
  const int length = static_cast<int>(mine.size());
  std::vector<int> lengths(ranks);
  check_mpi(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, comm), "MPI_Allgather");
  std::vector<int> offsets(ranks + 1, 0);
  for (int r = 0; r < ranks; ++r) offsets[r + 1] = offsets[r] + lengths[r];
  std::vector<std::byte> all(offsets[ranks]);
  check_mpi(MPI_Allgatherv(mine.data(), length, MPI_BYTE, all.data(), lengths.data(),
                           offsets.data(), MPI_BYTE, comm),
            "MPI_Allgatherv");
  std::vector<std::vector<std::byte>> addresses;
  addresses.reserve(ranks);
  for (int r = 0; r < ranks; ++r) {
    addresses.emplace_back(all.begin() + offsets[r], all.begin() + offsets[r + 1]);
  }
  return addresses;
}

}  // namespace

UcxTransport::UcxTransport(std::shared_ptr<UcxWorker> worker, MPI_Comm comm,
                           std::vector<int> job_ranks, int group, bool spin)
    : worker_(std::move(worker)),
      job_ranks_(std::move(job_ranks)),
      endpoints_(job_ranks_.size(), nullptr),
      rank_(0),
      group_(group),
      spin_(spin) {
  check_mpi(MPI_Comm_rank(comm, &rank_), "MPI_Comm_rank");
  const auto addresses = exchange_addresses(comm, size(), worker_->address());
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank_) endpoints_[peer] = worker_->endpoint(job_ranks_[peer], addresses[peer]);
  }
  pending_.reserve(2 * job_ranks_.size());
}

UcxTransport::~UcxTransport() {
  // Left by a failed wait. Cancelled, so that UCX forgets the buffers.
  for (const Pending& pending : pending_) {
    ucp_request_cancel(worker_->get(), pending.request);
    ucp_request_free(pending.request);
  }
}

ucp_tag_t UcxTransport::tag(int from) const {
  return static_cast<ucp_tag_t>(group_) << kRankBits | static_cast<ucp_tag_t>(from);
}

void UcxTransport::send(int to, const void* data, std::size_t bytes) {
  if (bytes == 0) return;
  ucp_request_param_t param{};
  void* request = ucp_tag_send_nbx(endpoints_[to], data, bytes, tag(rank_), &param);
  if (UCS_PTR_IS_ERR(request)) {
    throw TransportFailure(TransportFailure::Cause::peer_failed, {to},
                           ucs_status_string(UCS_PTR_STATUS(request)));
  }
  if (request != nullptr) pending_.push_back({request, to, false, bytes});
}

void UcxTransport::receive(int from, void* data, std::size_t bytes) {
  if (bytes == 0) return;
  ucp_tag_recv_info_t info{};
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_RECV_INFO;
  param.recv_info.tag_info = &info;
  void* request = ucp_tag_recv_nbx(worker_->get(), data, bytes, tag(from), ~ucp_tag_t{0}, &param);
  if (UCS_PTR_IS_ERR(request)) {
    throw TransportFailure(TransportFailure::Cause::peer_failed, {from},
                           ucs_status_string(UCS_PTR_STATUS(request)));
  }
  if (request != nullptr) {
    pending_.push_back({request, from, true, bytes});
  } else {
    check_length(from, bytes, info.length);
  }
}

void UcxTransport::check_length(int peer, std::size_t expected, std::size_t got) {
  if (got == expected) return;
  throw TransportFailure(TransportFailure::Cause::peer_failed, {peer},
                         "a message of unexpected length");
}

bool UcxTransport::is_done(const Pending& pending) {
  ucp_tag_recv_info_t info{};
  const ucs_status_t status = pending.receive ? ucp_tag_recv_request_test(pending.request, &info)
                                              : ucp_request_check_status(pending.request);
  if (status == UCS_INPROGRESS) return false;
  if (status != UCS_OK) {
    throw TransportFailure(TransportFailure::Cause::peer_failed, {pending.peer},
                           ucs_status_string(status));
  }
  if (pending.receive) check_length(pending.peer, pending.bytes, info.length);
  return true;
}

bool UcxTransport::collect() {
  while (!pending_.empty() && is_done(pending_.back())) {
    ucp_request_free(pending_.back().request);
    pending_.pop_back();
  }
  return pending_.empty();
}

void UcxTransport::wait(Clock::time_point until, Interrupt* interrupt) {
  Backoff backoff(spin_);
  auto look_at = Clock::time_point::min();
  while (!collect()) {
    if (ucp_worker_progress(worker_->get()) != 0) continue;
    if (collect()) return;
    look_for_failures();
    backoff.pause();
    if (!backoff.sleeping()) continue;
    const auto now = Clock::now();
    // First, for a rank that was stopped itself finds that it is late and that it was missed.
    if (interrupt && (now >= look_at || now >= until)) {
      if (interrupt->raised()) give_up(TransportFailure::Cause::interrupted, "");
      look_at = now + kInterruptPeriod;
    }
    if (now >= until) give_up(TransportFailure::Cause::timeout, "");
  }
}

// A receive is bound to no connection: it would wait for a dead peer until the deadline.
void UcxTransport::look_for_failures() {
  for (const Pending& pending : pending_) {
    const std::string* failure = worker_->failure(job_ranks_[pending.peer]);
    if (failure) {
      throw TransportFailure(TransportFailure::Cause::peer_failed, {pending.peer}, *failure);
    }
  }
}

void UcxTransport::give_up(TransportFailure::Cause cause, const std::string& detail) {
  std::vector<int> owing;
  for (const Pending& pending : pending_) {
    if (std::find(owing.begin(), owing.end(), pending.peer) == owing.end()) {
      owing.push_back(pending.peer);
    }
  }
  throw TransportFailure(cause, std::move(owing), detail);
}

}  // namespace spd
