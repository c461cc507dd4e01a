#include "comm/mpi_transport.h"

#include <algorithm>

#include "comm/backoff.h"

namespace spd {

namespace {

constexpr std::size_t kLargestMessage = std::size_t{1} << 30;  // MPI counts are int
constexpr std::chrono::microseconds kInterruptPeriod{1000};

}  // namespace

MpiTransport::MpiTransport(MpiComm comm, bool spin)
    : comm_(std::move(comm)), rank_(comm_.rank()), size_(comm_.size()), spin_(spin) {
  // Enough for one message to and from every peer, which is what the algorithms start at once.
  const auto most = 2 * static_cast<std::size_t>(size_);
  requests_.reserve(most);
  peers_.reserve(most);
  expected_.reserve(most);
  statuses_.reserve(most);
}

MpiTransport::~MpiTransport() = default;

void MpiTransport::do_send(int to, const void* data, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kLargestMessage) {
    const auto part = static_cast<int>(std::min(bytes - at, kLargestMessage));
    check_mpi(MPI_Isend(static_cast<const char*>(data) + at, part, MPI_BYTE, to, 0, comm_.get(),
                        &requests_.emplace_back(MPI_REQUEST_NULL)),
              "MPI_Isend");
    peers_.push_back(to);
    expected_.push_back(-1);
  }
}

void MpiTransport::receive(int from, void* data, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kLargestMessage) {
    const auto part = static_cast<int>(std::min(bytes - at, kLargestMessage));
    check_mpi(MPI_Irecv(static_cast<char*>(data) + at, part, MPI_BYTE, from, 0, comm_.get(),
                        &requests_.emplace_back(MPI_REQUEST_NULL)),
              "MPI_Irecv");
    peers_.push_back(from);
    expected_.push_back(part);
  }
}

void MpiTransport::wait(Clock::time_point until, Interrupt* interrupt, std::size_t later) {
  const std::size_t count = requests_.size() - std::min(later, requests_.size());
  statuses_.resize(count);
  Backoff backoff(spin_);
  auto look_at = Clock::time_point::min();
  for (;;) {
    int done = 0;
    const int status =
        MPI_Testall(static_cast<int>(count), requests_.data(), &done, statuses_.data());
    if (status != MPI_SUCCESS) give_up(TransportFailure::Cause::peer_failed, "MPI_Testall failed");
    if (done) break;
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
  check_lengths(count);
  const auto done_part = static_cast<std::ptrdiff_t>(count);
  requests_.erase(requests_.begin(), requests_.begin() + done_part);
  peers_.erase(peers_.begin(), peers_.begin() + done_part);
  expected_.erase(expected_.begin(), expected_.begin() + done_part);
}

// A longer message than expected is an error of MPI, a shorter one is not: ranks would go on with
// payloads that do not belong together.
void MpiTransport::check_lengths(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (expected_[i] < 0) continue;
    int bytes = 0;
    MPI_Get_count(&statuses_[i], MPI_BYTE, &bytes);
    if (bytes != expected_[i]) {
      throw TransportFailure(TransportFailure::Cause::peer_failed, {peers_[i]},
                             "a message of unexpected length");
    }
  }
}

void MpiTransport::give_up(TransportFailure::Cause cause, const std::string& detail) {
  std::vector<int> owing;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    int done = 0;
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    if (MPI_Test(&requests_[i], &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done) continue;
    if (std::find(owing.begin(), owing.end(), peers_[i]) == owing.end()) owing.push_back(peers_[i]);
  }
  throw TransportFailure(cause, std::move(owing), detail);
}

}  // namespace spd
