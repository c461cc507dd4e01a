#include "runtime/planning/knapsack.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/device/error.h"

namespace spd {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

// A choice worth considering: no other of its item is at most as heavy and at most as dear.
struct Option {
  double cost;
  double weight;
  std::size_t index;
};

// From one vertex of an item's convex hull to the next: what more weight buys at best.
struct Step {
  double saved;   // cost
  double weight;  // > 0
  double rate() const { return saved / weight; }
};

std::vector<Option> undominated(const std::vector<KnapsackChoice>& choices, std::size_t item) {
  if (choices.empty()) {
    throw Error(ErrorCode::internal, fmt::format("knapsack item {} has no choices", item));
  }
  std::vector<Option> options;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const KnapsackChoice& choice = choices[i];
    if (!(std::isfinite(choice.cost) && choice.cost >= 0.0 && std::isfinite(choice.weight) &&
          choice.weight >= 0.0)) {
      throw Error(ErrorCode::internal, fmt::format("knapsack item {} choice {}: cost {}, weight {}",
                                                   item, i, choice.cost, choice.weight));
    }
    options.push_back({choice.cost, choice.weight, i});
  }
  std::sort(options.begin(), options.end(), [](const Option& a, const Option& b) {
    return a.weight != b.weight ? a.weight < b.weight : a.cost < b.cost;
  });
  std::vector<Option> kept;
  for (const Option& option : options) {
    if (kept.empty() || option.cost < kept.back().cost) kept.push_back(option);
  }
  return kept;
}

// The lower convex hull's edges, steepest first. Strictly so by rate(), which decides in which
// order steps are taken: an item's second step means nothing without its first.
std::vector<Step> hull_steps(const std::vector<Option>& options) {
  std::vector<Option> hull;
  std::vector<Step> steps;  // to hull[1], hull[2], ...
  for (const Option& option : options) {
    while (!hull.empty()) {
      const Step step{hull.back().cost - option.cost, option.weight - hull.back().weight};
      if (steps.empty() || steps.back().rate() > step.rate()) {
        steps.push_back(step);
        break;
      }
      steps.pop_back();
      hull.pop_back();
    }
    hull.push_back(option);
  }
  return steps;
}

// The linear relaxation of the items from one on: the cost that a weight allows at best.
class Relaxation {
 public:
  Relaxation() = default;
  Relaxation(double cost, double weight, std::vector<Step> steps)
      : cost_(cost), weight_(weight), steps_(std::move(steps)) {
    double sum_weight = weight_;
    double sum_saved = 0.0;
    for (const Step& step : steps_) {
      sum_weight += step.weight;
      sum_saved += step.saved;
      until_.push_back(sum_weight);
      saved_.push_back(sum_saved);
    }
  }

  double least_weight() const { return weight_; }
  const std::vector<Step>& steps() const { return steps_; }
  double lightest_cost() const { return cost_; }

  // Infinite where not even the lightest choices fit.
  double bound(double budget) const {
    if (budget < weight_) return std::numeric_limits<double>::infinity();
    const auto next = std::upper_bound(until_.begin(), until_.end(), budget) - until_.begin();
    const double before = next == 0 ? 0.0 : saved_[next - 1];
    if (next == static_cast<std::ptrdiff_t>(steps_.size())) return cost_ - before;
    const double used = next == 0 ? weight_ : until_[next - 1];
    return cost_ - before - (budget - used) * steps_[next].rate();
  }

 private:
  double cost_ = 0.0;    // of the lightest choices
  double weight_ = 0.0;  // of the lightest choices
  std::vector<Step> steps_;
  std::vector<double> until_;  // [steps]: weight with this step and all before it
  std::vector<double> saved_;  // [steps]
};

struct Partial {
  double cost;
  double weight;
  std::size_t parent;  // in the layer before
  std::size_t option;
};

class Search {
 public:
  Search(const KnapsackItems& items, double budget, std::size_t max_partials)
      // Weights are sums of thousandths of nats: what rounding adds must not exclude a solution.
      : budget_(budget * (1.0 + 1e-12)), max_partials_(std::max<std::size_t>(max_partials, 2)) {
    for (std::size_t i = 0; i < items.size(); ++i) options_.push_back(undominated(items[i], i));
    relax();
  }

  std::optional<KnapsackSolution> run() {
    if (relaxed_.front().least_weight() > budget_) return std::nullopt;
    double best = greedy();
    const double root = relaxed_.front().bound(budget_);
    layers_.push_back({{0.0, 0.0, kNone, 0}});
    for (std::size_t item = 0; item < options_.size(); ++item) {
      layers_.push_back(extend(item, best));
    }
    // Never empty: the best known solution is not cut off by its own cost.
    const auto& last = layers_.back();
    const auto found =
        std::min_element(last.begin(), last.end(),
                         [](const Partial& a, const Partial& b) { return a.cost < b.cost; });
    KnapsackSolution solution;
    solution.cost = found->cost;
    solution.weight = found->weight;
    solution.cost_bound = merged_ ? std::max(root, found->cost - merge_loss_) : found->cost;
    solution.chosen.resize(options_.size());
    std::size_t at = found - last.begin();
    for (std::size_t item = options_.size(); item > 0; --item) {
      const Partial& partial = layers_[item][at];
      solution.chosen[item - 1] = options_[item - 1][partial.option].index;
      at = partial.parent;
    }
    return solution;
  }

 private:
  // relaxed_[i] covers the items i, i + 1, ...
  void relax() {
    relaxed_.resize(options_.size() + 1);
    double cost = 0.0;
    double weight = 0.0;
    std::vector<Step> steps;
    for (std::size_t item = options_.size(); item > 0; --item) {
      const auto& options = options_[item - 1];
      cost += options.front().cost;
      weight += options.front().weight;
      const auto mine = hull_steps(options);
      steps.insert(steps.end(), mine.begin(), mine.end());
      std::sort(steps.begin(), steps.end(),
                [](const Step& a, const Step& b) { return a.rate() > b.rate(); });
      relaxed_[item - 1] = Relaxation(cost, weight, steps);
    }
  }

  // The cost of a solution: whole steps, best rate first. A hull's steps come in its own order, so
  // skipping the first that does not fit means stopping for that item; stopping for all is simpler
  // and the search mends it.
  double greedy() const {
    const Relaxation& all = relaxed_.front();
    double cost = all.lightest_cost();
    double weight = all.least_weight();
    for (const Step& step : all.steps()) {
      if (weight + step.weight > budget_) break;
      weight += step.weight;
      cost -= step.saved;
    }
    return cost;
  }

  std::vector<Partial> extend(std::size_t item, double& best) {
    const auto& before = layers_.back();
    const Relaxation& rest = relaxed_[item + 1];
    const double slack = 1e-12 * (1.0 + relaxed_.front().lightest_cost());
    std::vector<Partial> next;
    for (std::size_t parent = 0; parent < before.size(); ++parent) {
      for (std::size_t option = 0; option < options_[item].size(); ++option) {
        const Option& taken = options_[item][option];
        const Partial partial{before[parent].cost + taken.cost,
                              before[parent].weight + taken.weight, parent, option};
        const double bound = partial.cost + rest.bound(budget_ - partial.weight);
        if (bound > best + slack) continue;
        next.push_back(partial);
        // Finishing with the lightest choices is a solution, too.
        if (partial.weight + rest.least_weight() <= budget_) {
          best = std::min(best, partial.cost + rest.lightest_cost());
        }
      }
    }
    std::sort(next.begin(), next.end(), [](const Partial& a, const Partial& b) {
      return a.weight != b.weight ? a.weight < b.weight : a.cost < b.cost;
    });
    std::vector<Partial> kept;
    for (const Partial& partial : next) {
      if (kept.empty() || partial.cost < kept.back().cost) kept.push_back(partial);
    }
    if (kept.size() > max_partials_) best = merge(kept, rest);
    return kept;
  }

  // Keeps the lightest of neighbours; the cost that the others would have saved is remembered.
  // Returns the cost of the best solution known that is still among them.
  double merge(std::vector<Partial>& partials, const Relaxation& rest) {
    merged_ = true;
    const std::size_t stride = (partials.size() + max_partials_ - 1) / max_partials_;
    std::vector<Partial> kept;
    double worst = 0.0;
    for (std::size_t i = 0; i < partials.size(); i += stride) {
      kept.push_back(partials[i]);
      const std::size_t last = std::min(i + stride, partials.size()) - 1;
      worst = std::max(worst, partials[i].cost - partials[last].cost);
    }
    merge_loss_ += worst;
    partials = std::move(kept);
    double best = std::numeric_limits<double>::infinity();
    for (const Partial& partial : partials) {
      if (partial.weight + rest.least_weight() <= budget_) {
        best = std::min(best, partial.cost + rest.lightest_cost());
      }
    }
    return best;
  }

  double budget_;
  std::size_t max_partials_;
  std::vector<std::vector<Option>> options_;  // [items]
  std::vector<Relaxation> relaxed_;           // [items + 1]
  std::vector<std::vector<Partial>> layers_;  // [items + 1]
  bool merged_ = false;
  double merge_loss_ = 0.0;
};

}  // namespace

std::optional<KnapsackSolution> solve_knapsack(const KnapsackItems& items, double budget,
                                               std::size_t max_partials) {
  return Search(items, budget, max_partials).run();
}

double least_weight(const KnapsackItems& items) {
  double sum = 0.0;
  for (const auto& choices : items) {
    double least = std::numeric_limits<double>::infinity();
    for (const KnapsackChoice& choice : choices) least = std::min(least, choice.weight);
    sum += least;
  }
  return sum;
}

}  // namespace spd
