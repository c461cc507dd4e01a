// Ranks: processes under mpirun or srun, or threads of one process (virtual ranks).
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "comm/backends.h"
#include "comm/rank_comms.h"

namespace spd {

struct LaunchOptions {
  int virtual_ranks = 0;  ///< 0: the processes that MPI started
  int virtual_nodes = 1;  ///< nodes that virtual ranks are spread over
  std::chrono::milliseconds deadline = kDefaultDeadline;
  BackendOptions backends{};  ///< of processes
};

/// What a rank's body gets.
struct RankContext {
  RankComms comms;
  bool is_virtual = false;
  std::vector<BackendChoice> backends{};  ///< what the groups are made of, and why
  /// Groups whose all-reduces add up in an order that depends on the payload's size: "across nodes
  /// (...)"; empty: none.
  std::string sums_vary_with_size{};
  MpiSession* session = nullptr;  ///< for groups of one's own; null: virtual ranks

  int rank() const { return comms.rank; }
  int ranks() const { return comms.ranks(); }
  /// The rank that talks to the user.
  bool root() const { return comms.rank == 0; }
};

/// Runs body on every rank; body's errors end every rank. Throws what the body threw.
using RankBody = std::function<void(RankContext&)>;
void launch_virtual(const LaunchOptions& options, const RankBody& body);

/// Runs `step` on this rank, then learns whether it went well on all of them: where it threw an
/// Error on some, every rank throws an AgreedError with the message of the lowest such rank.
/// For the phases in which ranks fail alone (reading files, allocating).
void agree(const RankComms& comms, const char* phase, const std::function<void()>& step);

/// `value` of rank 0 on every rank.
std::string broadcast_text(const RankComms& comms, std::string value);
/// [ranks]: every rank's text on every rank.
std::vector<std::string> gather_texts(const RankComms& comms, const std::string& mine);
std::vector<std::int32_t> broadcast_ids(const RankComms& comms, std::vector<std::int32_t> ids);

}  // namespace spd
