// Which query head lives on which rank (arXiv 2502.20727, section 3.3): where the attention's sync
// is left out, every rank should hold a functionally diverse set of heads, so that what it lacks
// resembles what it has.
#pragma once

#include <vector>

#include "runtime/repair/calibration.h"

namespace spd {

struct GroupingOptions {
  int kv_copies = 0;         ///< KV heads a rank may hold beyond what it holds now
  std::int64_t windows = 2;  ///< fit windows that candidates are measured on
  int rounds = 8;            ///< of the local search, at most
};

/// Similarity of two heads' contributions to the stream, E<A_i, A_j> over their sizes, in [-1, 1],
/// both centred: [heads][heads]. All ranks call it alike and get the same.
std::vector<std::vector<double>> head_similarity(Engine& engine, Calibration& calibration,
                                                 const SyncLevels& levels, std::int64_t windows);

/// Swaps heads between ranks to lower the similarity within ranks: the assignment to begin with.
/// Every rank keeps its number of heads and takes at most `kv_copies` more KV heads.
std::vector<std::vector<std::int32_t>> scatter_heads(
    const std::vector<std::vector<double>>& similarity,
    std::vector<std::vector<std::int32_t>> heads, std::int64_t queries_per_kv, int kv_copies);

struct Grouping {
  bool changed = false;
  double before = 0.0;  ///< mean |out - full|^2 / |full|^2 over the measured windows
  double after = 0.0;
};

/// Groups the block's heads: scattered by similarity if that is measured to be better, then swapped
/// as long as the measured error of the block's output falls. Leaves the engine with the best
/// split. `targets`: the block's output to be reached, a fit window each. All ranks call it alike.
Grouping group_heads(Engine& engine, Calibration& calibration, const SyncLevels& levels,
                     const std::vector<std::vector<float>>& targets,
                     const GroupingOptions& options);

}  // namespace spd
