#include "runtime/planning/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/device/error.h"

namespace spd {

namespace {

struct Found {
  const SensitivityEntry* entry = nullptr;
  NllIncrease rise;
};

Found find_last(const std::vector<SensitivityTable>& tables, SensitivityForm form,
                const PlanPoint& point, SyncLevel level, WireFormat wire) {
  for (auto table = tables.rbegin(); table != tables.rend(); ++table) {
    const auto* entry = table->find(form, point.point, point.block, level, wire);
    if (entry && !entry->windows.empty()) return {entry, table->own_rise(*entry)};
  }
  return {};
}

}  // namespace

double planning_loss(const NllIncrease& rise) {
  constexpr double kLost = 0.5;     // of the divergence; as much either way is not unlikely
  constexpr double kLeast = 0.125;  // of it, at whatever rise
  const double expected = kLost * rise.half_square;
  const double spread = expected * expected;
  const double noise = rise.standard_error * rise.standard_error;
  const double nats =
      spread + noise > 0.0 ? (noise * expected + spread * rise.nats) / (noise + spread) : rise.nats;
  return std::max({nats, kLeast * rise.half_square, 0.0});
}

Planner::Planner(const ModelConfig& config, const LinkModel& links, const Workload& workload,
                 const std::vector<SensitivityTable>& sensitivities, SensitivityForm form,
                 const PhaseTimes& compute)
    : blocks_(config.blocks), hidden_(config.hidden), workload_(workload), compute_(compute) {
  for (std::int64_t block = 0; block < blocks_; ++block) {
    for (const SyncPoint which : kSyncPoints) {
      PlanPoint point{which, block, {}};
      add_choices(point, links, sensitivities, form);
      std::vector<KnapsackChoice> choices;
      for (const PlanChoice& choice : point.choices) {
        choices.push_back({cost_of(choice), choice.loss});
      }
      items_.push_back(std::move(choices));
      points_.push_back(std::move(point));
    }
  }
}

PhaseTimes Planner::sync_times(const LinkModel& links, LinkGroup group, WireFormat wire) const {
  const auto time = [&](std::int64_t tokens) {
    const auto bytes = static_cast<std::size_t>(tokens * hidden_) * sizeof(float);
    return tokens > 0 ? links.predict_us(group, bytes, wire) : 0.0;
  };
  const std::int64_t steps = workload_.prompt / workload_.step_tokens;
  const double prompt = static_cast<double>(steps) * time(workload_.step_tokens) +
                        time(workload_.prompt % workload_.step_tokens);
  return {static_cast<double>(workload_.batch) * prompt, time(workload_.batch)};
}

void Planner::add_choices(PlanPoint& point, const LinkModel& links,
                          const std::vector<SensitivityTable>& sensitivities,
                          SensitivityForm form) {
  const bool output = is_output(point.block, point.point, blocks_);
  const bool several_nodes = links.ranks(LinkGroup::cross) > 1;
  const bool several_ranks = links.ranks(LinkGroup::node) > 1;
  for (const SyncLevel level : kSyncLevels) {
    if (output && level != SyncLevel::full) continue;
    if (level == SyncLevel::node && !(several_nodes && several_ranks)) continue;
    const Found lost = find_last(sensitivities, form, point, level, WireFormat::f32);
    if (level != SyncLevel::full && !lost.entry) continue;
    for (const WireFormat wire : kWireFormats) {
      PlanChoice choice;
      choice.level = level;
      choice.wire = wire;
      if (lost.entry) {
        choice.measured = lost.rise;
        choice.loss = planning_loss(lost.rise);
        choice.repaired = lost.entry->repaired;
        const double per_block = lost.entry->repair_share / static_cast<double>(blocks_);
        choice.repair = {per_block * compute_.prefill_us, per_block * compute_.decode_us};
      }
      if (wire != WireFormat::f32) {
        // Rounding what is summed in the node costs no more than rounding the whole.
        const Found rounded = find_last(sensitivities, form, point, SyncLevel::full, wire);
        if (level == SyncLevel::drop || !rounded.entry) continue;
        const NllIncrease& rise = rounded.rise;
        choice.loss += planning_loss(rise);
        choice.measured.nats += rise.nats;
        choice.measured.standard_error =
            std::hypot(choice.measured.standard_error, rise.standard_error);
      }
      if (level != SyncLevel::drop) {
        choice.sync =
            sync_times(links, level == SyncLevel::full ? LinkGroup::world : LinkGroup::node, wire);
      }
      point.choices.push_back(choice);
    }
  }
}

double Planner::cost_of(const PlanChoice& choice) const {
  return choice.sync.request_us(workload_) + choice.repair.request_us(workload_);
}

PlanSolution Planner::solution_of(const std::vector<std::size_t>& chosen) const {
  PlanSolution solution;
  solution.chosen = chosen;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const PlanChoice& choice = points_[i].choices[chosen[i]];
    solution.sync += choice.sync;
    solution.sync += choice.repair;
    solution.loss += choice.loss;
  }
  return solution;
}

PlanSolution Planner::all_full() const {
  return solution_of(std::vector<std::size_t>(points_.size(), 0));
}

PlanSolution Planner::within_loss(double nats) const {
  // Full in f32 loses nothing: there is always a solution.
  return solution_of(solve_knapsack(items_, std::max(nats, 0.0)).value().chosen);
}

std::optional<PlanSolution> Planner::within_latency(double request_us) const {
  KnapsackItems turned = items_;
  for (auto& choices : turned) {
    for (KnapsackChoice& choice : choices) std::swap(choice.cost, choice.weight);
  }
  const double left = request_us - compute_.request_us(workload_);
  if (left < 0.0) return std::nullopt;
  const auto solved = solve_knapsack(turned, left);
  if (!solved) return std::nullopt;
  return solution_of(solved->chosen);
}

double Planner::least_latency_us() const {
  double sum = compute_.request_us(workload_);
  for (const auto& choices : items_) {
    sum += std::min_element(choices.begin(), choices.end(), [](const auto& a, const auto& b) {
             return a.cost < b.cost;
           })->cost;
  }
  return sum;
}

std::vector<PlanSolution> Planner::pareto(int points) const {
  std::vector<PlanSolution> front{all_full()};
  double most = 0.0;
  double least = 1e9;
  for (const PlanPoint& point : points_) {
    double largest = 0.0;
    for (const PlanChoice& choice : point.choices) {
      largest = std::max(largest, choice.loss);
      if (choice.loss > 0.0) least = std::min(least, choice.loss);
    }
    most += largest;
  }
  if (most <= 0.0) return front;
  for (int i = 0; i < points; ++i) {
    const double share = static_cast<double>(i) / std::max(points - 1, 1);
    PlanSolution solution = within_loss(least * std::pow(most / least, share));
    if (request_us(solution) < request_us(front.back()) - 1e-9) front.push_back(solution);
  }
  return front;
}

SyncLevels Planner::levels(const PlanSolution& solution) const {
  SyncLevels levels = SyncLevels::all_full(blocks_);
  for (std::size_t i = 0; i < points_.size(); ++i) {
    const PlanChoice& choice = points_[i].choices[solution.chosen[i]];
    levels.at(points_[i].block, points_[i].point) = choice.level;
    levels.wire_at(points_[i].block, points_[i].point) = choice.wire;
  }
  return levels;
}

std::vector<PlanTrial> Planner::hold_budget(
    double nats, int trials, const std::function<PlanLoss(const SyncLevels&)>& measure) const {
  constexpr double kNearEnough = 0.9;
  // What a next trial aims at, as a share of the budget: less and less while none has held.
  constexpr double kAims[] = {0.95, 0.85, 0.6, 0.4, 0.25};
  std::vector<PlanTrial> tried;
  PlanTrial best{0.0, all_full(), {}};
  std::optional<double> too_much;  // the least sum of a plan that was found to lose too much
  double enough = 0.0;             // the largest budget that was found to hold
  double budget = nats;
  std::size_t failures = 0;  // one after the other
  while (static_cast<int>(tried.size()) < trials) {
    PlanTrial trial{budget, within_loss(budget), {}};
    if (trial.solution.chosen == all_full().chosen) break;  // it needs no measuring
    if (trial.solution.chosen == best.solution.chosen) {
      trial.measured = best.measured;  // a plan that failed cannot come back: its sum is too much
    } else {
      trial.measured = measure(levels(trial.solution));
      tried.push_back(trial);
    }
    if (trial.measured.upper <= nats) {
      failures = 0;
      enough = budget;
      if (request_us(trial.solution) <= request_us(best.solution)) best = trial;
      const bool nothing_left = request_us(trial.solution) <= least_latency_us() + 1e-6;
      if (trial.measured.upper >= kNearEnough * nats || nothing_left) break;
    } else {
      ++failures;
      too_much = std::min(trial.solution.loss, too_much.value_or(trial.solution.loss));
    }
    // As if losses grew in proportion; halfway between what holds and what does not, otherwise.
    const double aim = kAims[std::min(std::max<std::size_t>(failures, 1), std::size(kAims)) - 1];
    double next =
        budget * std::clamp(aim * nats / std::max(trial.measured.upper, 1e-12), 0.05, 3.0);
    if (too_much && (next >= *too_much || next <= enough)) next = 0.5 * (enough + *too_much);
    if (too_much && *too_much - enough < 0.02 * *too_much) break;
    budget = next;
  }
  if (tried.empty() || tried.back().solution.chosen != best.solution.chosen) tried.push_back(best);
  return tried;
}

std::string reason(const PlanPoint& point, const PlanChoice& chosen, const Workload& workload,
                   double budget, bool output) {
  const PlanChoice& full = point.choices.front();
  const auto time = [&](const PlanChoice& choice) {
    return choice.sync.request_us(workload) + choice.repair.request_us(workload);
  };
  const auto share = [&](double nats) {
    return budget > 0.0 ? fmt::format(" ({:.1f} % of the budget)", 100.0 * nats / budget) : "";
  };
  if (time(full) <= 0.0) return "costs nothing on this machine";
  if (chosen.level != SyncLevel::full || chosen.wire != WireFormat::f32) {
    return fmt::format("saves {:.0f} of {:.0f} us a request for {:.5f} nats{}{}",
                       time(full) - time(chosen), time(full), chosen.loss, share(chosen.loss),
                       chosen.repaired ? ", repaired" : "");
  }
  const PlanChoice* cheapest = &full;
  for (const PlanChoice& choice : point.choices) {
    if (time(choice) < time(*cheapest)) cheapest = &choice;
  }
  if (output && cheapest == &full) return "the output needs it";
  if (cheapest == &full) return "nothing else was measured, or is cheaper";
  return fmt::format("{} would save {:.0f} us a request but lose {:.5f} nats{}",
                     cheapest->level == SyncLevel::full ? name(cheapest->wire)
                                                        : std::string_view(name(cheapest->level)),
                     time(full) - time(*cheapest), cheapest->loss, share(cheapest->loss));
}

}  // namespace spd
