// The table of all-reduce algorithms: which one a group of messages uses at which size.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "comm/algorithms.h"

namespace spd {

class LinkModel;

/// From which payload on, in bytes as they travel, an algorithm is used.
struct AlgorithmRange {
  std::size_t from_bytes = 0;
  AllReduceAlgorithm algorithm = AllReduceAlgorithm::one_shot;
};
/// Ascending in from_bytes, the first from 0.
using AlgorithmTable = std::vector<AlgorithmRange>;

/// What was fastest for a group of `ranks` where we have measured (README.md, results).
AlgorithmTable default_algorithms(int ranks);
AllReduceAlgorithm choose(const AlgorithmTable& table, std::size_t bytes);
/// Whether a sum's order, and with it its last bits, depends on the payload's size: one_shot and
/// scatter_gather add up by rank, recursive_doubling by pairs of ranks, ring by where in the
/// payload a value stands. Sums of two have one order.
bool order_varies_with_size(const AlgorithmTable& table, int ranks);
/// What was fastest across nodes at each size that was measured: the medians of the curves of group
/// cross, f32, that bear an algorithm's name. One that gains less than 5 % is not worth a change.
/// Throws input Error where there are none.
AlgorithmTable fastest_algorithms(const LinkModel& measured);

/// "one_shot", or "one_shot,scatter_gather:524288": names of AllReduceAlgorithm, each but the first
/// with the bytes that it is used from. Throws usage Error.
AlgorithmTable parse_algorithm_table(std::string_view text);
/// The same back, as parse_algorithm_table() reads it.
std::string to_string(const AlgorithmTable& table);

}  // namespace spd
