#include "runtime/repair/balanced_assignment.h"

#include <limits>

namespace spd {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kGain = 1e-12;  // relative: what counts as an improvement

struct Move {
  double change = kNever;
  int item = -1;
};

}  // namespace

std::vector<int> assign_balanced(const std::vector<std::vector<double>>& cost,
                                 std::vector<int> owner) {
  const int ranks = static_cast<int>(cost.size());
  const int items = static_cast<int>(owner.size());
  double scale = 0.0;
  for (int item = 0; item < items; ++item) scale += cost[owner[item]][item];
  while (true) {
    // The cheapest single move from each rank to each other.
    std::vector<std::vector<Move>> best(ranks, std::vector<Move>(ranks));
    for (int item = 0; item < items; ++item) {
      const int from = owner[item];
      for (int to = 0; to < ranks; ++to) {
        const double change = cost[to][item] - cost[from][item];
        if (to != from && change < best[from][to].change) best[from][to] = {change, item};
      }
    }
    // A cycle of moves that lowers the cost (Bellman-Ford from everywhere at once).
    std::vector<double> distance(ranks, 0.0);
    std::vector<int> previous(ranks, -1);
    int changed = -1;
    for (int round = 0; round < ranks; ++round) {
      changed = -1;
      for (int from = 0; from < ranks; ++from) {
        for (int to = 0; to < ranks; ++to) {
          if (best[from][to].item < 0) continue;
          const double through = distance[from] + best[from][to].change;
          if (through < distance[to] - kGain * scale) {
            distance[to] = through;
            previous[to] = from;
            changed = to;
          }
        }
      }
      if (changed < 0) return owner;
    }
    int on_cycle = changed;  // as many steps back as there are ranks lead onto the cycle
    for (int i = 0; i < ranks; ++i) on_cycle = previous[on_cycle];
    int to = on_cycle;
    do {
      const int from = previous[to];
      owner[best[from][to].item] = to;
      to = from;
    } while (to != on_cycle);
  }
}

}  // namespace spd
