// The multiple-choice knapsack: one choice an item, least cost within a budget of weight. Exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace spd {

/// One way to settle an item. Both numbers are finite and not negative.
struct KnapsackChoice {
  double cost = 0.0;    ///< what is to be kept low, e.g. microseconds
  double weight = 0.0;  ///< what there is a budget for, e.g. nats
};

struct KnapsackSolution {
  std::vector<std::size_t> chosen;  ///< [items]: index into the item's choices
  double cost = 0.0;
  double weight = 0.0;
  /// No solution costs less than this; equal to cost up to rounding, unless the search was cut
  /// short.
  double cost_bound = 0.0;
};

/// A list of items, each with its choices; none of them empty.
using KnapsackItems = std::vector<std::vector<KnapsackChoice>>;

/// Least cost with a weight of at most `budget`; among equals the least weight. Nothing where even
/// the lightest choices are beyond the budget. Throws internal Error for an item without choices
/// and for numbers that are negative or not finite.
///
/// Partial solutions are extended item by item; those that another one beats in both numbers, and
/// those that cannot become better than the best known one even if the remaining choices could be
/// mixed (linear relaxation: Sinha and Zoltners 1979, Pisinger 1995), are given up. At most
/// `max_partials` are kept at a time: beyond, similar ones are merged, and cost_bound says what
/// that may have cost.
std::optional<KnapsackSolution> solve_knapsack(const KnapsackItems& items, double budget,
                                               std::size_t max_partials = 1 << 18);

/// The sum of the lightest choices' weights: the least budget that can be met.
double least_weight(const KnapsackItems& items);

}  // namespace spd
