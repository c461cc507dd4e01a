#include "comm/ucx_transport.h"

#include <algorithm>

#include "comm/backoff.h"

namespace spd {

namespace {

constexpr std::chrono::microseconds kInterruptPeriod{1000};
constexpr int kRankBits = 32;

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
  const auto addresses = all_gather_bytes(comm, size(), worker_->address());
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank_) endpoints_[peer] = worker_->endpoint(job_ranks_[peer], addresses[peer]);
  }
  // Twice what the algorithms start at once, a message to and from every peer.
  messages_.resize(4 * job_ranks_.size());
  under_way_.reserve(messages_.size());
  for (Message& message : messages_) free_.push_back(&message);
}

UcxTransport::~UcxTransport() {
  // Left by a failed wait: cancelled, so that UCX forgets the buffers.
  for (const Message* message : under_way_) {
    if (message->request != nullptr && !message->done) {
      ucp_request_cancel(worker_->get(), message->request);
    }
  }
  if (open_ > 0) worker_->progress_until_idle();
  release(under_way_.size());
}

ucp_tag_t UcxTransport::tag(int from) const {
  return static_cast<ucp_tag_t>(group_) << kRankBits | static_cast<ucp_tag_t>(from);
}

UcxTransport::Message& UcxTransport::next_message(int peer, std::size_t bytes) {
  if (free_.empty()) free_.push_back(&messages_.emplace_back());
  Message& message = *free_.back();
  free_.pop_back();
  message = {this, peer, bytes, nullptr, false};
  under_way_.push_back(&message);
  ++open_;
  return message;
}

void UcxTransport::finish(Message& message, ucs_status_t status, const char* wrong) {
  message.done = true;
  --open_;
  if (failed_peer_ >= 0 || (status == UCS_OK && wrong == nullptr)) return;
  failed_peer_ = message.peer;
  failure_ = status == UCS_OK ? wrong : ucs_status_string(status);
}

void UcxTransport::on_sent(void*, ucs_status_t status, void* data) {
  auto& message = *static_cast<Message*>(data);
  message.transport->finish(message, status, nullptr);
}

void UcxTransport::on_received(void*, ucs_status_t status, const ucp_tag_recv_info_t* info,
                               void* data) {
  auto& message = *static_cast<Message*>(data);
  const bool other_length = status == UCS_OK && info->length != message.bytes;
  message.transport->finish(message, status,
                            other_length ? "a message of unexpected length" : nullptr);
}

void UcxTransport::do_send(int to, const void* data, std::size_t bytes) {
  if (bytes == 0) return;
  Message& message = next_message(to, bytes);
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = on_sent;
  param.user_data = &message;
  void* request = ucp_tag_send_nbx(endpoints_[to], data, bytes, tag(rank_), &param);
  if (UCS_PTR_IS_PTR(request)) {
    message.request = request;
  } else {
    finish(message, UCS_PTR_STATUS(request), nullptr);
  }
}

void UcxTransport::receive(int from, void* data, std::size_t bytes) {
  if (bytes == 0) return;
  Message& message = next_message(from, bytes);
  ucp_request_param_t param{};
  // Immediate completion is declined, for UCX 1.13 then leaves out the length of what has come.
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
  param.cb.recv = on_received;
  param.user_data = &message;
  void* request = ucp_tag_recv_nbx(worker_->get(), data, bytes, tag(from), ~ucp_tag_t{0}, &param);
  if (UCS_PTR_IS_PTR(request)) {
    message.request = request;
  } else {
    finish(message, UCS_PTR_STATUS(request), nullptr);
  }
}

bool UcxTransport::first_are_done(std::size_t count) const {
  return open_ == 0 || std::all_of(under_way_.begin(), under_way_.begin() + count,
                                   [](const Message* message) { return message->done; });
}

void UcxTransport::release(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (under_way_[i]->request != nullptr) ucp_request_free(under_way_[i]->request);
    free_.push_back(under_way_[i]);
  }
  under_way_.erase(under_way_.begin(), under_way_.begin() + static_cast<std::ptrdiff_t>(count));
}

void UcxTransport::wait(Clock::time_point until, Interrupt* interrupt, std::size_t later) {
  const std::size_t count = under_way_.size() - std::min(later, under_way_.size());
  Backoff backoff(spin_);
  auto look_at = Clock::time_point::min();
  while (!first_are_done(count)) {
    if (ucp_worker_progress(worker_->get()) != 0) continue;
    look_for_failures();
    backoff.pause();
    if (!backoff.sleeping()) continue;
    const auto now = Clock::now();
    // First, for a rank that was stopped itself finds that it is late and that it was missed.
    if (interrupt && (now >= look_at || now >= until)) {
      if (interrupt->raised()) give_up(TransportFailure::Cause::interrupted);
      look_at = now + kInterruptPeriod;
    }
    if (now >= until) give_up(TransportFailure::Cause::timeout);
  }
  look_for_failures();
  release(count);
}

void UcxTransport::look_for_failures() {
  if (failed_peer_ >= 0) {
    worker_->abandon();
    throw TransportFailure(TransportFailure::Cause::peer_failed, {failed_peer_}, failure_);
  }
  if (!worker_->has_failures()) return;
  // A receive is bound to no connection: it would wait for a dead peer until the deadline.
  for (const Message* message : under_way_) {
    if (message->done) continue;
    if (const std::string* failure = worker_->failure(job_ranks_[message->peer])) {
      worker_->abandon();
      throw TransportFailure(TransportFailure::Cause::peer_failed, {message->peer}, *failure);
    }
  }
}

void UcxTransport::give_up(TransportFailure::Cause cause) {
  std::vector<int> owing;
  for (const Message* message : under_way_) {
    if (!message->done && std::find(owing.begin(), owing.end(), message->peer) == owing.end()) {
      owing.push_back(message->peer);
    }
  }
  worker_->abandon();
  throw TransportFailure(cause, std::move(owing));
}

}  // namespace spd
