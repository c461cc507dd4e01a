#include "runtime/commands/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/device/printable.h"
#include "model/config.h"
#include "runtime/job/console.h"
#include "runtime/report/statistics.h"

namespace spd {
namespace {

constexpr int kFrontPoints = 16;

std::string percent(double part, double whole) {
  return fmt::format("{:.1f} %", whole > 0.0 ? 100.0 * part / whole : 0.0);
}

const PlanChoice& chosen(const Planner& planner, const PlanSolution& solution, std::size_t i) {
  return planner.points()[i].choices[solution.chosen[i]];
}

bool is_output(const Planner& planner, std::size_t i) { return i + 1 == planner.points().size(); }

// The class of a block by the loss of dropping its attn sync, where that was measured.
std::optional<BlockClass> class_of(const PlanPoint& point, const PlanReport& report) {
  for (const PlanChoice& choice : point.choices) {
    if (choice.level == SyncLevel::drop) {
      return report.thresholds.classify(choice.measured.nats);
    }
  }
  return std::nullopt;
}

// Sync times by group: all ranks and within nodes.
struct Parts {
  PhaseTimes world, node, repair;
};

Parts parts_of(const Planner& planner, const PlanSolution& solution) {
  Parts parts;
  for (std::size_t i = 0; i < planner.points().size(); ++i) {
    const PlanChoice& choice = chosen(planner, solution, i);
    (choice.level == SyncLevel::node ? parts.node : parts.world) += choice.sync;
    parts.repair += choice.repair;
  }
  return parts;
}

// Measured by predicted: as it was planned, then with the computing that the check itself saw.
void print_check(const Planner& planner, const PlanSolution& solution, const LatencyCheck& check) {
  say("\n{:<26} {:>12} {:>12} {:>14}\n", "measured / predicted", "TTFT", "TPOT", "whole request");
  // A saving of less than a fiftieth is lost in the noise of what it is taken from.
  const auto ratio = [](double measured, double predicted, double least) {
    return predicted > least ? fmt::format("{:.2f}", measured / predicted) : "-";
  };
  const auto row = [&](const char* what, const PhaseTimes& measured, const PhaseTimes& predicted,
                       const PhaseTimes& least = {}) {
    const Workload& workload = planner.workload();
    say("{:<26} {:>12} {:>12} {:>14}\n", what,
        ratio(measured.prefill_us, predicted.prefill_us, least.prefill_us),
        ratio(measured.decode_us, predicted.decode_us, least.decode_us),
        ratio(measured.request_us(workload), predicted.request_us(workload),
              least.request_us(workload)));
  };
  const PhaseTimes full = planner.all_full().sync;
  row("no syncs", check.no_comm, planner.compute());
  row("every sync full", check.full, planner.compute() + full);
  row("plan", check.plan, planner.compute() + solution.sync);
  say("with computing as it was while these were measured:\n");
  row("every sync full", check.full, check.no_comm + full);
  row("plan", check.plan, check.no_comm + solution.sync);
  const PhaseTimes predicted = full - solution.sync, least = 0.02 * check.full;
  row("saved by the plan", check.saved, predicted, least);
  row("  at least (95 %)", check.saved_low, predicted, least);
  row("  at most (95 %)", check.saved_high, predicted, least);
}

void print_times(const Planner& planner, const PlanSolution& solution, const PlanReport& report) {
  const PlanSolution full = planner.all_full();
  const PhaseTimes& compute = planner.compute();
  const Parts parts = parts_of(planner, solution);
  const auto row = [](const char* what, double prefill, double decode, double request) {
    say("{:<26} {:>12.3f} {:>12.3f} {:>14.3f}\n", what, prefill / 1e3, decode / 1e3, request / 1e3);
  };
  const auto times = [&](const char* what, const PhaseTimes& phase) {
    row(what, phase.prefill_us, phase.decode_us, phase.request_us(planner.workload()));
  };
  say("\n{:<26} {:>12} {:>12} {:>14}\n", "ms", "TTFT", "TPOT", "whole request");
  times("predicted, every sync full", compute + full.sync);
  times("predicted, plan", compute + solution.sync);
  times("  computing (no-comm bound)", compute);
  times("  syncs over all ranks", parts.world);
  times("  syncs within nodes", parts.node);
  times("  repairs", parts.repair);
  if (report.checked) {
    times("measured, every sync full", report.checked->full);
    times("measured, plan", report.checked->plan);
    times("measured, no syncs", report.checked->no_comm);
  }
  if (report.virtual_compute) {
    say("computing was timed on virtual ranks, which share this machine's cores\n");
  }
  if (report.checked) print_check(planner, solution, *report.checked);
}

double percent_of_perplexity(double nats) { return 100.0 * std::expm1(nats); }

// Of the choices that are not every sync full.
double least_loss(const Planner& planner) {
  double least = std::numeric_limits<double>::infinity();
  for (const PlanPoint& point : planner.points()) {
    for (std::size_t i = 1; i < point.choices.size(); ++i) {
      least = std::min(least, point.choices[i].loss);
    }
  }
  return least;
}

void print_losses(const Planner& planner, const PlanSolution& solution, const PlanReport& report) {
  say("\nloss: budget {:.5f} nats ({:.2f} % of perplexity), sum of sensitivities {:.5f}\n",
      report.budget, percent_of_perplexity(report.budget), solution.loss);
  if (!report.judged_by) {
    say("  joint loss not measured: give held-out text with --text\n");
    return;
  }
  for (const PlanTrial& trial : report.trials) {
    const PlanLoss& loss = trial.measured;
    if (loss.windows == 0) {
      say("  every sync full: loses nothing, request {:.3f} ms\n",
          planner.request_us(trial.solution) / 1e3);
      continue;
    }
    say("  held to {:.5f}: sum {:.5f}, joint loss {} nats on {} windows, at most "
        "{:+.5f} ({:+.2f} %), request {:.3f} ms\n",
        trial.budget, trial.solution.loss, with_error(loss.nats, loss.standard_error, 5, true),
        loss.windows, loss.upper, percent_of_perplexity(loss.upper),
        planner.request_us(trial.solution) / 1e3);
  }
  const PlanJudgeOptions& held_out = report.judged_by->options();
  say("against every sync full, NLL {:.5f} nats on {} windows of {} tokens; \"at most\" holds for\n"
      "text of this kind with {} % confidence, for all of {} trials together\n",
      report.judged_by->full_nll(), report.judged_by->windows(), held_out.window,
      100.0 * held_out.confidence, held_out.trials);
  if (report.trials.back().measured.windows > 0) return;
  say("nothing faster than every sync full was found within the budget: ");
  if (report.trials.size() > 1) {
    const auto nearest = std::min_element(
        report.trials.begin(), report.trials.end() - 1,
        [](const auto& a, const auto& b) { return a.measured.upper < b.measured.upper; });
    say("the best reached at most {:+.5f}\n(measured {:+.5f} on {} windows). ",
        nearest->measured.upper, nearest->measured.nats, nearest->measured.windows);
  } else {
    say("the least loss of any change is {:.5f}.\n", least_loss(planner));
  }
  say("Allow more, give more windows, or repair.\n");
}

nlohmann::json to_json(const PlanLoss& loss) {
  nlohmann::json json{{"loss_nats", loss.nats}, {"windows", loss.windows}};
  if (loss.windows < 2) return json;
  json["loss_stderr_nats"] = loss.standard_error;
  json["loss_upper_nats"] = loss.upper;
  return json;
}

}  // namespace

void print_report(const Planner& planner, const PlanSolution& solution, const PlanReport& report) {
  say("{}: prompt {}, {} generated, batch {}\nplan: {}\n", printable(report.machine),
      planner.workload().prompt, planner.workload().generate, planner.workload().batch,
      planner.levels(solution).describe());
  print_times(planner, solution, report);

  print_losses(planner, solution, report);

  say("\n{:<6} {:<5} {:<5} {:<5} {:<5} {:>10}  why\n", "block", "class", "point", "level", "wire",
      "nats");
  for (std::size_t i = 0; i < planner.points().size(); ++i) {
    const PlanPoint& point = planner.points()[i];
    const PlanChoice& choice = chosen(planner, solution, i);
    const auto block_class =
        point.point == SyncPoint::attn ? class_of(point, report) : std::nullopt;
    say("{:<6} {:<5} {:<5} {:<5} {:<5} {:>10.5f}  {}\n", point.block,
        block_class ? name(*block_class) : "", name(point.point), name(choice.level),
        choice.level == SyncLevel::drop ? "-" : name(choice.wire), choice.loss,
        reason(point, choice, planner.workload(), report.budget, is_output(planner, i)));
  }

  const PlanSolution full = planner.all_full();
  say("\nlatency against loss (predicted)\n{:>12} {:>14} {:>10} {:>6} {:>6} {:>6}\n", "nats",
      "request ms", "saved", "full", "node", "drop");
  for (const PlanSolution& point : planner.pareto(kFrontPoints)) {
    const SyncLevels at = planner.levels(point);
    say("{:>12.5f} {:>14.3f} {:>10} {:>6} {:>6} {:>6}\n", point.loss,
        planner.request_us(point) / 1e3,
        percent(planner.request_us(full) - planner.request_us(point), planner.request_us(full)),
        at.count(SyncLevel::full), at.count(SyncLevel::node), at.count(SyncLevel::drop));
  }
}

nlohmann::json to_json(const Planner& planner, const PlanSolution& solution,
                       const PlanReport& report) {
  const auto phases = [&](const PhaseTimes& times) {
    return nlohmann::json{{"ttft_us", times.prefill_us},
                          {"tpot_us", times.decode_us},
                          {"request_us", times.request_us(planner.workload())}};
  };
  const Parts parts = parts_of(planner, solution);
  nlohmann::json json;
  json["machine"] = report.machine;
  json["workload"] = {{"prompt_tokens", planner.workload().prompt},
                      {"generated_tokens", planner.workload().generate},
                      {"batch", planner.workload().batch}};
  json["predicted"] = {{"full", phases(planner.compute() + planner.all_full().sync)},
                       {"plan", phases(planner.compute() + solution.sync)},
                       {"no_comm", phases(planner.compute())},
                       {"world_syncs", phases(parts.world)},
                       {"node_syncs", phases(parts.node)},
                       {"repairs", phases(parts.repair)},
                       {"loss_nats", solution.loss}};
  json["budget_nats"] = report.budget;
  json["measured"] = nlohmann::json::object();
  if (!report.trials.empty()) json["measured"] = to_json(report.trials.back().measured);
  if (report.judged_by) {
    json["measured"]["full_nll_nats"] = report.judged_by->full_nll();
    json["measured"]["confidence"] = report.judged_by->options().confidence;
    json["measured"]["window_tokens"] = report.judged_by->options().window;
  }
  if (report.checked) {
    json["measured"]["full"] = phases(report.checked->full);
    json["measured"]["plan"] = phases(report.checked->plan);
    json["measured"]["no_comm"] = phases(report.checked->no_comm);
    json["measured"]["saved"] = phases(report.checked->saved);
    json["measured"]["saved_at_least"] = phases(report.checked->saved_low);
    json["measured"]["saved_at_most"] = phases(report.checked->saved_high);
  }
  json["trials"] = nlohmann::json::array();
  for (const PlanTrial& trial : report.trials) {
    json["trials"].push_back({{"budget_nats", trial.budget},
                              {"predicted_loss_nats", trial.solution.loss},
                              {"measured", to_json(trial.measured)},
                              {"request_us", planner.request_us(trial.solution)}});
  }
  json["tau1_nats"] = report.thresholds.tau1;
  json["tau2_nats"] = report.thresholds.tau2;
  json["points"] = nlohmann::json::array();
  for (std::size_t i = 0; i < planner.points().size(); ++i) {
    const PlanPoint& point = planner.points()[i];
    const PlanChoice& choice = chosen(planner, solution, i);
    nlohmann::json entry{
        {"block", point.block},
        {"point", name(point.point)},
        {"level", name(choice.level)},
        {"wire", name(choice.wire)},
        {"repaired", choice.repaired},
        {"loss_nats", choice.loss},
        {"prefill_us", choice.sync.prefill_us + choice.repair.prefill_us},
        {"decode_us", choice.sync.decode_us + choice.repair.decode_us},
        {"why", reason(point, choice, planner.workload(), report.budget, is_output(planner, i))}};
    if (point.point == SyncPoint::attn) {
      if (const auto block_class = class_of(point, report)) entry["class"] = name(*block_class);
    }
    json["points"].push_back(std::move(entry));
  }
  json["pareto"] = nlohmann::json::array();
  for (const PlanSolution& point : planner.pareto(kFrontPoints)) {
    const SyncLevels at = planner.levels(point);
    json["pareto"].push_back({{"loss_nats", point.loss},
                              {"request_us", planner.request_us(point)},
                              {"full", at.count(SyncLevel::full)},
                              {"node", at.count(SyncLevel::node)},
                              {"drop", at.count(SyncLevel::drop)}});
  }
  return json;
}

Plot plot_of(const Planner& planner, const PlanSolution& solution, const PlanReport& report) {
  Plot plot{"Latency against loss: " + report.machine, "rise of NLL, nats", "ms a request", {}};
  PlotSeries front{"predicted front", {}, true, {}};
  for (const PlanSolution& point : planner.pareto(kFrontPoints)) {
    front.points.emplace_back(point.loss, planner.request_us(point) / 1e3);
  }
  PlotSeries plan{
      "the plan, predicted", {{solution.loss, planner.request_us(solution) / 1e3}}, false, {}};
  plot.series = {front, plan};
  if (!report.trials.empty()) {
    PlotSeries measured{"joint loss measured", {}, false, {}};
    for (const PlanTrial& trial : report.trials) {
      measured.points.emplace_back(trial.measured.nats, planner.request_us(trial.solution) / 1e3);
    }
    plot.series.push_back(measured);
  }
  const double bound = planner.compute().request_us(planner.workload()) / 1e3;
  plot.series.push_back(
      {"no-comm bound", {{0.0, bound}, {front.points.back().first, bound}}, true, {}});
  return plot;
}

}  // namespace spd
