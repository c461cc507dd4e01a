#include "comm/hierarchical_communicator.h"

#include <algorithm>
#include <cstring>

#include "comm/chunk.h"

namespace spd {

HierarchicalCommunicator::HierarchicalCommunicator(const Topology& topology, int rank,
                                                   std::shared_ptr<Communicator> node,
                                                   std::shared_ptr<Communicator> rail,
                                                   GroupSettings world, Settings settings)
    : nodes_(topology.nodes()),
      rank_(rank),
      node_(std::move(node)),
      rail_(std::move(rail)),
      world_(std::move(world)),
      settings_(settings),
      name_(std::string(node_->backend()) + "+" + settings.across_backend) {
  for (int r = 0; r < topology.ranks(); ++r) {
    node_ranks_.push_back({topology.node_of(r), topology.local_rank(r)});
  }
  const std::vector<int> sizes = topology.ranks_per_node();
  largest_node_ = *std::max_element(sizes.begin(), sizes.end());
}

template <class Body>
void HierarchicalCommunicator::run(CollectiveKind kind, std::size_t bytes, const CallSite& site,
                                   const Body& body, WireFormat wire) {
  const EnclosingCollective enclosing{world_, rank_, {kind, bytes, sequence_++, site, wire}};
  const EnclosingScope scope(enclosing);
  body();
}

Traffic HierarchicalCommunicator::traffic() const {
  Traffic sum = node_->traffic();
  if (rail_) sum += rail_->traffic();
  return sum;
}

void HierarchicalCommunicator::do_all_reduce(float* data, std::size_t count, WireFormat wire,
                                             Stream& stream, const CallSite& site) {
  const int owners = count * sizeof(float) >= settings_.rails_from_bytes ? settings_.rails : 1;
  const auto body = [&] {
    node_->reduce_scatter(data, count, owners, stream, site);
    if (node_->rank() < owners) {
      const Chunk mine = chunk_of(count, node_->rank(), owners);
      rail_->all_reduce(data + mine.begin, mine.count, stream, site, wire);
    }
    node_->all_gather_chunks(data, count, owners, stream, site);
  };
  run(CollectiveKind::all_reduce, count * sizeof(float), site, body, wire);
}

void HierarchicalCommunicator::do_all_gather(const void* send, void* recv, std::size_t bytes,
                                             Stream& stream, const CallSite& site) {
  // Nodes may be of different sizes and their ranks not in a row, so payloads are laid out by node
  // first, as if every node were as large as the largest.
  const std::size_t node_bytes = bytes * largest_node_;
  if (staging_.size() < node_bytes * nodes_) staging_.resize(node_bytes * nodes_);
  std::byte* own_node = staging_.data() + node_bytes * node_ranks_[rank_].node;
  run(CollectiveKind::all_gather, bytes, site, [&] {
    node_->all_gather(send, own_node, bytes, stream, site);
    if (leader()) rail_->all_gather(own_node, staging_.data(), node_bytes, stream, site);
    node_->broadcast(staging_.data(), node_bytes * nodes_, 0, stream, site);
  });
  for (int r = 0; r < size(); ++r) {
    const NodeRank& place = node_ranks_[r];
    std::memcpy(static_cast<std::byte*>(recv) + bytes * r,
                staging_.data() + node_bytes * place.node + bytes * place.local, bytes);
  }
}

void HierarchicalCommunicator::do_broadcast(void* data, std::size_t bytes, int root, Stream& stream,
                                            const CallSite& site) {
  const NodeRank& from = node_ranks_[root];
  const bool here = node_ranks_[rank_].node == from.node;
  run(CollectiveKind::broadcast, bytes, site, [&] {
    if (here) node_->broadcast(data, bytes, from.local, stream, site);
    // Nodes are numbered in the order of their leaders, and so are the ranks of rail 0.
    if (leader()) rail_->broadcast(data, bytes, from.node, stream, site);
    if (!here) node_->broadcast(data, bytes, 0, stream, site);
  });
}

void HierarchicalCommunicator::do_barrier(const CallSite& site) {
  run(CollectiveKind::barrier, 0, site, [&] {
    node_->barrier(site);
    if (leader()) rail_->barrier(site);
    node_->barrier(site);
  });
}

}  // namespace spd
