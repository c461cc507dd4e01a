#include "model/tokenizer/added_token_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "kernels/device/error.h"

namespace spd {

AddedTokenSearch::AddedTokenSearch(const std::vector<std::string>& needles) {
  std::size_t bytes = 0;
  std::vector<std::uint32_t> order;
  order.reserve(needles.size());
  for (std::size_t i = 0; i < needles.size(); ++i) {
    bytes += needles[i].size();
    if (!needles[i].empty()) order.push_back(static_cast<std::uint32_t>(i));
  }
  if (bytes > kMostBytes) {
    throw Error(ErrorCode::input,
                fmt::format("the added tokens have more than {} MiB of text", kMostBytes >> 20),
                "check that it is the right file");
  }
  if (order.empty()) return;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return needles[a] < needles[b]; });
  build(needles, order);
  link();
}

// Level by level: a node is a range of the sorted needles that begin alike.
void AddedTokenSearch::build(const std::vector<std::string>& needles,
                             const std::vector<std::uint32_t>& order) {
  struct Range {
    std::uint32_t begin, end;
  };
  std::vector<Range> ranges = {{0, static_cast<std::uint32_t>(order.size())}};
  nodes_.emplace_back();
  for (std::size_t at = 0; at < nodes_.size(); ++at) {
    auto [begin, end] = ranges[at];
    const auto depth = static_cast<std::size_t>(nodes_[at].depth);
    if (needles[order[begin]].size() == depth) {
      nodes_[at].needle = static_cast<std::int32_t>(order[begin]);
      nodes_[at].match = static_cast<std::int32_t>(at);
      while (begin < end && needles[order[begin]].size() == depth) ++begin;
    }
    nodes_[at].first_edge = static_cast<std::uint32_t>(edge_bytes_.size());
    while (begin < end) {
      const char byte = needles[order[begin]][depth];
      const auto next = std::find_if(order.begin() + begin, order.begin() + end,
                                     [&](std::uint32_t i) { return needles[i][depth] != byte; });
      edge_bytes_.push_back(static_cast<unsigned char>(byte));
      Node node;
      node.depth = static_cast<std::int32_t>(depth) + 1;
      nodes_.push_back(node);
      ranges.push_back({begin, static_cast<std::uint32_t>(next - order.begin())});
      begin = ranges.back().end;
    }
    nodes_[at].edges = static_cast<std::uint32_t>(edge_bytes_.size()) - nodes_[at].first_edge;
  }
  for (std::uint32_t edge = 0; edge < nodes_[kRoot].edges; ++edge) {
    begins_[edge_bytes_[edge]] = static_cast<std::int32_t>(edge) + 1;
  }
}

// Where to go on when no edge fits: to the longest suffix that some needle begins with. A node
// whose path has a needle in it has no such place, because what is found from there begins later
// than that needle.
void AddedTokenSearch::link() {
  for (std::size_t at = 0; at < nodes_.size(); ++at) {
    const Node& node = nodes_[at];
    for (std::uint32_t edge = node.first_edge; edge < node.first_edge + node.edges; ++edge) {
      Node& next = nodes_[edge + 1];
      if (next.needle != kNone) {
        next.fail = kDead;
        continue;
      }
      if (at == kRoot) continue;
      next.fail = node.fail == kDead ? kDead : step(node.fail, edge_bytes_[edge]);
      if (next.fail != kDead) next.match = nodes_[static_cast<std::size_t>(next.fail)].match;
    }
  }
}

std::int32_t AddedTokenSearch::child(std::int32_t node, unsigned char byte) const {
  const Node& from = nodes_[static_cast<std::size_t>(node)];
  const unsigned char* first = edge_bytes_.data() + from.first_edge;
  const unsigned char* last = first + from.edges;
  const unsigned char* found = std::lower_bound(first, last, byte);
  if (found == last || *found != byte) return kDead;
  return static_cast<std::int32_t>(found - edge_bytes_.data()) + 1;
}

// The node after `byte`; kDead: nothing that begins later than what was found can be better.
std::int32_t AddedTokenSearch::step(std::int32_t node, unsigned char byte) const {
  while (node != kRoot) {
    const std::int32_t next = child(node, byte);
    if (next != kDead) return next;
    node = nodes_[static_cast<std::size_t>(node)].fail;
    if (node == kDead) return kDead;
  }
  return begins_[byte];
}

bool AddedTokenSearch::find(std::string_view text, std::size_t from, Match& match) const {
  if (nodes_.empty()) return false;
  bool found = false;
  std::int32_t node = kRoot;
  for (std::size_t at = from; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (node == kRoot && begins_[byte] == kRoot) continue;
    node = step(node, byte);
    if (node == kDead) return true;
    const std::int32_t end = nodes_[static_cast<std::size_t>(node)].match;
    if (end == kNone) continue;
    const Node& needle = nodes_[static_cast<std::size_t>(end)];
    match.begin = at + 1 - static_cast<std::size_t>(needle.depth);
    match.end = at + 1;
    match.needle = static_cast<std::size_t>(needle.needle);
    found = true;
  }
  return found;
}

}  // namespace spd
