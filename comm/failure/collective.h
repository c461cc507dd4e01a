// The collective that a group was in when something went wrong, and the errors that name it: which
// ranks, which collective, where in the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "kernels/device/error.h"

namespace spd {

enum class CollectiveKind : std::uint8_t {
  all_reduce,
  all_gather,
  broadcast,
  barrier,
  reduce_scatter,
  all_gather_chunks,
};

/// One call of a collective, as a rank sees it.
struct Collective {
  CollectiveKind kind = CollectiveKind::barrier;
  std::size_t bytes = 0;       ///< payload of one rank
  std::uint64_t sequence = 0;  ///< how many collectives the rank called before on this group
  CallSite site;
  WireFormat wire = WireFormat::f32;  ///< of an all-reduce

  /// Whether two ranks are in the same collective (call sites may be worded differently).
  bool matches(const Collective& other) const {
    return kind == other.kind && bytes == other.bytes && sequence == other.sequence &&
           wire == other.wire;
  }
};
/// "all-reduce of 2304 bytes, block 7 attn", "all-reduce of 2304 bytes as int8, block 7 attn".
std::string to_string(const Collective& collective);

/// Who the ranks of a group are in the job: messages name ranks of the job, never of a sub-group.
struct GroupMembers {
  std::vector<int> job_ranks;      ///< [size], ascending
  std::vector<std::string> hosts;  ///< [size], or empty when there is nothing to tell apart
  std::vector<int> nodes;          ///< [size], or empty: all share one

  int size() const { return static_cast<int>(job_ranks.size()); }
  /// "rank 2 (host n1)" for a rank of the group.
  std::string name(int rank) const;
  /// "ranks 0,1,3", "rank 0" or "no rank" for ranks of the group.
  std::string list(std::span<const int> ranks) const;
};

/// An error of the group rather than of one rank: peers that are missing or have failed.
class CommError : public Error {
 public:
  /// `missing` are ranks of the job; the `reporter` is the one rank that prints the message.
  CommError(ErrorCode code, const std::string& message, const std::string& remedy,
            std::vector<int> missing, bool reporter)
      : Error(code, message, remedy), missing_(std::move(missing)), reporter_(reporter) {}

  const std::vector<int>& missing() const { return missing_; }
  /// True on one of the surviving ranks: every survivor throws, one of them prints.
  bool reporter() const { return reporter_; }

 private:
  std::vector<int> missing_;
  bool reporter_;
};

/// "rank 2 (host n1) did not arrive at all-reduce of 2304 bytes, block 7 attn, within 30.0 s;
/// ranks 0,1,3 did". `missing` and `arrived` are ranks of the group.
std::string missing_message(const GroupMembers& members, std::span<const int> missing,
                            std::span<const int> arrived, const Collective& collective,
                            Communicator::Milliseconds deadline);
/// "ranks disagree: rank 0 calls ..., rank 1 calls ...".
std::string mismatch_message(const GroupMembers& members, int rank, const Collective& mine,
                             int other_rank, const Collective& other);

/// What to do when a peer is missing, and when ranks disagree.
inline constexpr const char* kMissingRemedy =
    "look at that rank's output and host; raise --deadline if it is merely slow";
inline constexpr const char* kMismatchRemedy =
    "start every rank with the same command, plan and model";

}  // namespace spd
