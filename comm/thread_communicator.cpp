#include "comm/thread_communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <numeric>
#include <system_error>
#include <thread>

#include "comm/chunk.h"
#include "kernels/device/error.h"
#include "kernels/device/host_memory.h"

namespace spd {

namespace {

using Parts = std::vector<ThreadHub::Part>;

// From here on it pays to wake all ranks for the work and once more for its end.
constexpr std::size_t kParallelBytes = 64 * 1024;

Chunk ranks_of_share(std::size_t ranks, int share, int shares) {
  const std::size_t begin = ranks * share / shares;
  return {begin, ranks * (share + 1) / shares - begin};
}

/// total = sum of the parts of one contribution, in rank order.
void sum_contribution(const Parts& parts, int contribution, std::size_t at, std::size_t count,
                      float* total) {
  bool first = true;
  for (const auto& part : parts) {
    if (part.contribution != contribution) continue;
    const float* more = static_cast<const float*>(part.send) + at;
    if (first) {
      std::memcpy(total, more, count * sizeof(float));
    } else {
      sum_rows(total, more, count, total);
    }
    first = false;
  }
}

void sum(const Parts& parts, int share, int shares) {
  // Tiles that stay in the first-level cache.
  std::array<float, 2048> total;
  std::array<float, 2048> more;
  static_assert(total.size() % kWireBlock == 0);
  const WireFormat wire = parts[0].collective.wire;
  int contributions = 0;
  for (const auto& part : parts) contributions = std::max(contributions, part.contribution + 1);
  const Chunk range = chunk_of(parts[0].collective.bytes / sizeof(float), share, shares);
  for (std::size_t at = range.begin; at < range.end(); at += total.size()) {
    const std::size_t n = std::min(total.size(), range.end() - at);
    sum_contribution(parts, 0, at, n, total.data());
    round_trip(wire, total.data(), n);
    for (int c = 1; c < contributions; ++c) {
      sum_contribution(parts, c, at, n, more.data());
      round_trip(wire, more.data(), n);
      sum_rows(total.data(), more.data(), n, total.data());
    }
    round_trip(wire, total.data(), n);
    for (const auto& part : parts) {
      std::memcpy(static_cast<float*>(part.recv) + at, total.data(), n * sizeof(float));
    }
  }
}

void gather(const Parts& parts, int share, int shares) {
  const std::size_t bytes = parts[0].collective.bytes;
  const Chunk to = ranks_of_share(parts.size(), share, shares);
  for (std::size_t r = to.begin; r < to.end(); ++r) {
    for (std::size_t from = 0; from < parts.size(); ++from) {
      char* slot = static_cast<char*>(parts[r].recv) + from * bytes;
      // A rank may gather in place, from its own slot, which others are reading.
      if (slot != parts[from].send) std::memcpy(slot, parts[from].send, bytes);
    }
  }
}

void spread(const Parts& parts, int share, int shares) {
  const auto root =
      std::find_if(parts.begin(), parts.end(), [](const auto& part) { return part.send; });
  const Chunk to = ranks_of_share(parts.size(), share, shares);
  for (std::size_t r = to.begin; r < to.end(); ++r) {
    if (parts[r].recv) std::memcpy(parts[r].recv, root->send, root->collective.bytes);
  }
}

void nothing(const Parts&, int, int) {}

GroupMembers members_of(const Topology& topology, const std::vector<int>& ranks) {
  GroupMembers members{ranks, {}, {}};
  if (topology.nodes() > 1) {
    for (int rank : ranks) members.hosts.push_back(topology.node_names[topology.node_of(rank)]);
  }
  return members;
}

}  // namespace

Collective ThreadCommunicator::next(CollectiveKind kind, std::size_t bytes, const CallSite& site) {
  return {kind, bytes, sequence_++, site};
}

void ThreadCommunicator::do_all_reduce(float* data, std::size_t count, WireFormat wire,
                                       Stream& stream, const CallSite& site) {
  stream.synchronize();
  const std::size_t bytes = count * sizeof(float);
  Collective collective = next(CollectiveKind::all_reduce, bytes, site);
  collective.wire = wire;
  hub_->run(rank_, {collective, data, data, contribution_}, sum, bytes >= kParallelBytes);
}

void ThreadCommunicator::do_all_gather(const void* send, void* recv, std::size_t bytes,
                                       Stream& stream, const CallSite& site) {
  stream.synchronize();
  hub_->run(rank_, {next(CollectiveKind::all_gather, bytes, site), send, recv}, gather,
            bytes * size() >= kParallelBytes);
}

void ThreadCommunicator::do_broadcast(void* data, std::size_t bytes, int root, Stream& stream,
                                      const CallSite& site) {
  stream.synchronize();
  const bool is_root = rank_ == root;
  hub_->run(rank_,
            {next(CollectiveKind::broadcast, bytes, site), is_root ? data : nullptr,
             is_root ? nullptr : data},
            spread, bytes >= kParallelBytes);
}

void ThreadCommunicator::do_barrier(const CallSite& site) {
  hub_->run(rank_, {next(CollectiveKind::barrier, 0, site), nullptr, nullptr}, nothing, false);
}

ThreadGroup::ThreadGroup(Topology topology, Communicator::Milliseconds deadline)
    : topology_(std::move(topology)) {
  std::vector<int> everyone(topology_.ranks());
  std::iota(everyone.begin(), everyone.end(), 0);
  world_ = std::make_shared<ThreadHub>(members_of(topology_, everyone), deadline);
  for (int node = 0; node < topology_.nodes(); ++node) {
    nodes_.push_back(std::make_shared<ThreadHub>(
        members_of(topology_, topology_.ranks_of_node(node)), deadline));
  }
}

std::unique_ptr<Communicator> ThreadGroup::world(int rank) const {
  const int contribution = topology_.nodes() > 1 ? topology_.node_of(rank) : rank;
  return std::make_unique<ThreadCommunicator>(world_, rank, contribution);
}

std::unique_ptr<Communicator> ThreadGroup::node(int rank) const {
  const int local = topology_.local_rank(rank);
  return std::make_unique<ThreadCommunicator>(nodes_.at(topology_.node_of(rank)), local, local);
}

void ThreadGroup::fail(int rank, const std::string& message) {
  // One failure at a time: a peer woken in the first group must not be the first in the second.
  const std::lock_guard lock(fail_mutex_);
  world_->fail(rank, message);
  for (const auto& hub : nodes_) hub->fail(rank, message);
}

void ThreadGroup::run(const std::function<void(int rank)>& body) {
  std::mutex mutex;
  std::exception_ptr first;
  const auto guarded = [&](int rank) {
    std::string message = "unknown exception";
    try {
      body(rank);
      return;
    } catch (const std::exception& error) {
      message = error.what();
      const std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
    }
    fail(rank, message);
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(topology_.ranks());
    for (int rank = 0; rank < topology_.ranks(); ++rank) {
      try {
        threads.emplace_back(guarded, rank);
      } catch (const std::system_error& error) {
        // Those that run wait for this one: they must not wait for their deadline.
        const Error cause(ErrorCode::system,
                          fmt::format("cannot start virtual rank {} of {}: {}", rank,
                                      topology_.ranks(), error.code().message()),
                          "ask for fewer with --virtual-ranks, or raise the limit of processes "
                          "(ulimit -u)");
        {
          const std::lock_guard lock(mutex);
          if (!first) first = std::make_exception_ptr(cause);
        }
        fail(rank, cause.what());
        break;
      }
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace spd
