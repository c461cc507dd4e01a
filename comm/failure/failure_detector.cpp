#include "comm/failure/failure_detector.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "comm/backoff.h"

namespace spd {

static_assert(std::is_trivially_copyable_v<Position>);

namespace {

// For a rank of the lower side of a cut to report, and the launcher to begin to end the job.
constexpr std::chrono::milliseconds kLauncherEndsJobWithin{500};

}  // namespace

Position Position::of(int group, const Collective& collective, bool detected) {
  Position position;
  position.group = group;
  position.kind = collective.kind;
  position.wire = collective.wire;
  position.detected = detected;
  position.bytes = collective.bytes;
  position.sequence = collective.sequence;
  position.block = collective.site.block;
  std::strncpy(position.what, collective.site.what, sizeof position.what - 1);
  return position;
}

Collective Position::collective() const { return {kind, bytes, sequence, {what, block}, wire}; }

FailureDetector::FailureDetector(MPI_Comm parent, GroupMembers job, Milliseconds grace)
    : comm_(MpiComm::duplicate(parent)), job_(std::move(job)), grace_(grace), rank_(comm_.rank()) {
  const int ranks = comm_.size();
  inbox_.resize(ranks);
  receives_.assign(ranks, MPI_REQUEST_NULL);
  sends_.assign(ranks, MPI_REQUEST_NULL);
  positions_.resize(ranks);
  for (int peer = 0; peer < ranks; ++peer) {
    if (peer == rank_) continue;
    check_mpi(MPI_Irecv(&inbox_[peer], sizeof(Position), MPI_BYTE, peer, 0, comm_.get(),
                        &receives_[peer]),
              "MPI_Irecv");
  }
}

FailureDetector::~FailureDetector() {
  if (exchanged_ || MpiComm::finalized()) return;  // the job is being torn down: touch nothing
  for (MPI_Request& request : receives_) {
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
  }
}

bool FailureDetector::on_higher_node(int peer) const {
  return !job_.nodes.empty() && job_.nodes[peer] > job_.nodes[rank_];
}

bool FailureDetector::lower_node_is_silent() const {
  // [node]: who answered
  std::vector<bool> speaks(job_.nodes.empty() ? 0 : job_.nodes[rank_]);
  for (std::size_t peer = 0; peer < positions_.size() && !speaks.empty(); ++peer) {
    const auto node = static_cast<std::size_t>(job_.nodes[peer]);
    if (positions_[peer] && node < speaks.size()) speaks[node] = true;
  }
  return std::find(speaks.begin(), speaks.end(), false) != speaks.end();
}

void FailureDetector::collect() {
  for (std::size_t peer = 0; peer < receives_.size(); ++peer) {
    if (receives_[peer] == MPI_REQUEST_NULL) continue;
    int done = 0;
    // An error here is a peer that cannot answer: it stays missing.
    if (MPI_Test(&receives_[peer], &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done) {
      positions_[peer] = inbox_[peer];
    }
  }
}

bool FailureDetector::raised() {
  collect();
  return std::any_of(positions_.begin(), positions_.end(), [](const auto& p) { return p; });
}

const std::vector<std::optional<Position>>& FailureDetector::exchange(const Position& mine) {
  if (exchanged_) return positions_;
  exchanged_ = true;
  mine_ = mine;
  for (std::size_t peer = 0; peer < sends_.size(); ++peer) {
    if (static_cast<int>(peer) == rank_) continue;
    MPI_Isend(&mine_, sizeof(Position), MPI_BYTE, static_cast<int>(peer), 0, comm_.get(),
              &sends_[peer]);
  }
  positions_[rank_] = mine;
  // Where a cut parts the nodes, the side of the lowest node is done first: it reports,
  // and the other side hears from the launcher before it reports the same of it.
  launcher_.emplace();
  const auto begin = Backoff::Clock::now();
  auto until = begin + grace_;
  const auto for_higher_nodes = begin + grace_ / 2;
  Backoff backoff(false);
  const auto complete = [&](bool but_higher_nodes) {
    for (int peer = 0; peer < static_cast<int>(positions_.size()); ++peer) {
      if (!positions_[peer] && !(but_higher_nodes && on_higher_node(peer))) return false;
    }
    return true;
  };
  for (collect();; collect()) {
    const auto now = Backoff::Clock::now();
    if (now >= until && lower_node_is_silent()) {
      until = std::max(until, for_higher_nodes + kLauncherEndsJobWithin);
    }
    if (ended_by_launcher() || now >= until || complete(now >= for_higher_nodes)) break;
    backoff.pause();
  }
  // Let the last answers leave before this process ends.
  int sent = 0;
  while (!sent && Backoff::Clock::now() < until && complete(false)) {
    if (MPI_Testall(static_cast<int>(sends_.size()), sends_.data(), &sent, MPI_STATUSES_IGNORE) !=
        MPI_SUCCESS) {
      break;
    }
  }
  return positions_;
}

}  // namespace spd
