#include "comm/failure/collective.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace spd {

namespace {

const char* name(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::all_reduce:
      return "all-reduce";
    case CollectiveKind::all_gather:
      return "all-gather";
    case CollectiveKind::broadcast:
      return "broadcast";
    case CollectiveKind::barrier:
      return "barrier";
    case CollectiveKind::reduce_scatter:
      return "all-reduce (sum in the node)";
    case CollectiveKind::all_gather_chunks:
      return "all-reduce (copy in the node)";
  }
  return "collective";
}

}  // namespace

std::string to_string(const Collective& collective) {
  const std::string what =
      collective.kind == CollectiveKind::barrier
          ? name(collective.kind)
          : fmt::format("{} of {} bytes{}", name(collective.kind), collective.bytes,
                        collective.wire == WireFormat::f32
                            ? ""
                            : fmt::format(" as {}", name(collective.wire)));
  const std::string site = to_string(collective.site);
  return site.empty() ? what : what + ", " + site;
}

std::string GroupMembers::name(int rank) const {
  return hosts.empty() ? fmt::format("rank {}", job_ranks.at(rank))
                       : fmt::format("rank {} (host {})", job_ranks.at(rank), hosts.at(rank));
}

std::string GroupMembers::list(std::span<const int> ranks) const {
  if (ranks.empty()) return "no rank";
  std::vector<int> named;
  for (int rank : ranks) named.push_back(job_ranks.at(rank));
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(named, ","));
}

std::string missing_message(const GroupMembers& members, std::span<const int> missing,
                            std::span<const int> arrived, const Collective& collective,
                            Communicator::Milliseconds deadline) {
  std::vector<std::string> names;
  for (int rank : missing) names.push_back(members.name(rank));
  return fmt::format("{} did not arrive at {}, within {:.1f} s; {} did", fmt::join(names, " and "),
                     to_string(collective), static_cast<double>(deadline.count()) / 1e3,
                     members.list(arrived));
}

std::string mismatch_message(const GroupMembers& members, int rank, const Collective& mine,
                             int other_rank, const Collective& other) {
  return fmt::format("ranks disagree: {} calls {} (collective {}), {} calls {} (collective {})",
                     members.name(rank), to_string(mine), mine.sequence, members.name(other_rank),
                     to_string(other), other.sequence);
}

}  // namespace spd
