#include "runtime/commands/task_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "runtime/job/console.h"
#include "runtime/report/bootstrap.h"
#include "runtime/report/statistics.h"

namespace spd {
namespace {

// Each result's grades by metric, one vector of samples a side.
struct Samples {
  std::vector<double> plan, baseline;

  void add(double of_plan, std::optional<double> of_baseline) {
    plan.push_back(of_plan);
    if (of_baseline) baseline.push_back(*of_baseline);
  }
};

MetricReport report_of(const Task& task, Metric metric, const Samples& samples) {
  MetricReport row;
  row.task = task.name;
  row.metric = metric;
  row.items = static_cast<std::int64_t>(samples.plan.size());
  const bool perplexity = metric == Metric::perplexity;
  const auto estimate = [&](const std::vector<double>& of) {
    // The standard error is for finish().
    return perplexity ? Estimate{perplexity_of(of), std::numeric_limits<double>::quiet_NaN()}
                      : mean_of(of);
  };
  row.plan = estimate(samples.plan);
  if (samples.baseline.empty()) return row;
  row.baseline = estimate(samples.baseline);
  // The log-perplexity is minus the mean log-likelihood: it falls where that rises.
  row.paired = perplexity ? compare_means(samples.baseline, samples.plan)
                          : compare_right(samples.plan, samples.baseline);
  return row;
}

std::string show(const Estimate& estimate, Metric metric) {
  const double scale = metric == Metric::perplexity ? 1.0 : 100.0;
  return with_error(scale * estimate.value, scale * estimate.stderr_, 2);
}

std::string show_difference(const MetricReport& row) {
  if (row.metric != Metric::perplexity) {
    const Estimate& points = row.paired->difference;
    return with_error(100.0 * points.value, 100.0 * points.stderr_, 2, true);
  }
  const Estimate& nats = row.paired->difference;
  return with_error(nats.value, nats.stderr_, 4, true) + " nats";
}

std::string show_chance(double p) { return std::isfinite(p) ? fmt::format("{:.3g}", p) : "n/a"; }

// JSON has no NaN: a standard error of one item is null.
nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

nlohmann::json row_json(const MetricReport& row, bool mean) {
  nlohmann::json json = {{"value", number(row.plan.value)}, {"stderr", number(row.plan.stderr_)}};
  if (row.metric == Metric::perplexity) {
    json["stderr_method"] = fmt::format("bootstrap, {} resamples", kHarnessResamples);
  }
  if (!row.baseline) return json;
  json["baseline"] = number(row.baseline->value);
  json["baseline_stderr"] = number(row.baseline->stderr_);
  const bool nats = row.metric == Metric::perplexity;
  json[nats ? "log_difference_nats" : "difference"] = number(row.paired->difference.value);
  json[nats ? "log_difference_stderr_nats" : "difference_stderr"] =
      number(row.paired->difference.stderr_);
  json["p_value"] = number(row.paired->p_value);
  json["test"] = nats || mean ? "normal approximation, paired" : "McNemar exact";
  if (!nats) {
    json["gained"] = row.paired->gained;
    json["lost"] = row.paired->lost;
  }
  return json;
}

}  // namespace

Grade grade(const Task& task, const TaskItem& item, const std::vector<Likelihood>& likelihoods) {
  Grade result;
  result.log_likelihood = likelihoods.at(item.gold).log_likelihood;
  if (task.greedy) {
    result.acc = result.acc_norm = likelihoods.at(item.gold).greedy ? 1.0 : 0.0;
    return result;
  }
  std::size_t best = 0;
  std::size_t best_norm = 0;
  const auto norm = [&](std::size_t i) {
    return likelihoods[i].log_likelihood / static_cast<double>(item.characters.at(i));
  };
  for (std::size_t i = 1; i < likelihoods.size(); ++i) {
    if (likelihoods[i].log_likelihood > likelihoods[best].log_likelihood) best = i;
    if (norm(i) > norm(best_norm)) best_norm = i;
  }
  result.acc = static_cast<std::int64_t>(best) == item.gold ? 1.0 : 0.0;
  result.acc_norm = static_cast<std::int64_t>(best_norm) == item.gold ? 1.0 : 0.0;
  return result;
}

const char* name(Metric metric) {
  switch (metric) {
    case Metric::acc:
      return "acc";
    case Metric::acc_norm:
      return "acc_norm";
    case Metric::perplexity:
      return "perplexity";
  }
  return "";
}

void TaskReport::add(const Task& task, const std::vector<TaskItem>& items,
                     const std::vector<ItemResult>& results) {
  Samples acc;
  Samples acc_norm;
  Samples likelihood;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Grade plan = grade(task, items[i], results[i].plan);
    std::optional<Grade> baseline;
    if (!results[i].baseline.empty()) baseline = grade(task, items[i], results[i].baseline);
    const auto add = [&](Samples& samples, double Grade::*field) {
      samples.add(plan.*field, baseline ? std::optional((*baseline).*field) : std::nullopt);
    };
    add(acc, &Grade::acc);
    add(acc_norm, &Grade::acc_norm);
    add(likelihood, &Grade::log_likelihood);
  }
  if (acc.plan.empty()) return;  // a shard without items
  rows_.push_back(report_of(task, Metric::acc, acc));
  if (task.acc_norm) rows_.push_back(report_of(task, Metric::acc_norm, acc_norm));
  if (!task.greedy) return;
  perplexities_.push_back({rows_.size(), likelihood.plan, likelihood.baseline});
  rows_.push_back(report_of(task, Metric::perplexity, likelihood));
}

void TaskReport::bootstrap() {
  for (const Likelihoods& of : perplexities_) {
    if (of.plan.size() < 2) continue;
    std::vector<std::span<const double>> sides{of.plan};
    if (!of.baseline.empty()) sides.emplace_back(of.baseline);
    const auto errors = bootstrap_perplexity_stderr(sides);
    rows_[of.row].plan.stderr_ = errors[0];
    if (!of.baseline.empty()) rows_[of.row].baseline->stderr_ = errors[1];
  }
}

void TaskReport::finish() {
  bootstrap();
  for (const Metric metric : {Metric::acc, Metric::acc_norm}) {
    std::vector<MetricReport> chosen;  // a row a task: this metric, or acc
    for (const MetricReport& row : rows_) {
      if (row.metric == Metric::acc) {
        chosen.push_back(row);
      } else if (row.metric == metric) {
        chosen.back() = row;
      }
    }
    if (chosen.size() < 2) return;
    MetricReport mean;
    mean.task = fmt::format("mean of {}", chosen.size());
    mean.metric = metric;
    std::vector<Estimate> plan;
    std::vector<Estimate> baseline;
    std::vector<Estimate> difference;
    PairedDifference paired;
    for (const MetricReport& row : chosen) {
      mean.items += row.items;
      plan.push_back(row.plan);
      if (!row.baseline) continue;
      baseline.push_back(*row.baseline);
      difference.push_back(row.paired->difference);
      paired.gained += row.paired->gained;
      paired.lost += row.paired->lost;
    }
    mean.plan = mean_of_estimates(plan);
    if (!baseline.empty()) {
      mean.baseline = mean_of_estimates(baseline);
      paired.difference = mean_of_estimates(difference);
      paired.p_value = normal_p(paired.difference);
      mean.paired = paired;
    }
    means_.push_back(std::move(mean));
  }
}

void TaskReport::print() const {
  std::vector<MetricReport> all = rows_;
  all.insert(all.end(), means_.begin(), means_.end());
  if (all.empty()) {
    say("there is no item: nothing was scored\n");
    return;
  }
  const bool compared = all.front().baseline.has_value();
  say("{:<15} {:>6}  {:<10} {:>16}", "task", "items", "metric", compared ? "baseline" : "");
  if (compared) {
    say(" {:>16} {:>23} {:>6} {:>6} {:>8}", "plan", "difference", "gained", "lost", "p");
  }
  say("\n");
  for (const MetricReport& row : all) {
    say("{:<15} {:>6}  {:<10} {:>16}", row.task, row.items,
        fmt::format("{}{}", name(row.metric), row.metric == Metric::perplexity ? "" : " %"),
        show(compared ? *row.baseline : row.plan, row.metric));
    if (compared) {
      const bool counts = row.metric != Metric::perplexity;
      say(" {:>16} {:>23} {:>6} {:>6} {:>8}", show(row.plan, row.metric), show_difference(row),
          counts ? std::to_string(row.paired->gained) : "",
          counts ? std::to_string(row.paired->lost) : "", show_chance(row.paired->p_value));
    }
    say("\n");
  }
  say("±: standard error{}.",
      perplexities_.empty() ? "" : ", a perplexity's by bootstrap as the harness draws it");
  if (compared) {
    say(" Differences are plan - baseline over the same items (percentage points; nats for the\n"
        "log-perplexity); gained, lost: items that only the plan, only the baseline has right.\n"
        "p, two-sided: McNemar's exact test for a task's accuracies; normal approximation of the\n"
        "paired difference for perplexity and means.");
  }
  say("\n");
  for (const MetricReport& mean : means_) {
    if (!mean.paired || mean.baseline->value == 0.0) continue;
    say("relative change of mean {:<9} {:+.2f} %\n", name(mean.metric),
        100.0 * mean.paired->difference.value / mean.baseline->value);
  }
}

nlohmann::json TaskReport::to_json() const {
  nlohmann::json json = {{"tasks", nlohmann::json::object()}, {"mean", nlohmann::json::object()}};
  for (const MetricReport& row : rows_) {
    auto& task = json["tasks"][row.task];
    task["items"] = row.items;
    task[name(row.metric)] = row_json(row, false);
  }
  for (const MetricReport& row : means_) {
    auto& mean = json["mean"][name(row.metric)] = row_json(row, true);
    if (row.paired) {
      mean["relative_change"] = number(row.paired->difference.value / row.baseline->value);
    }
  }
  return json;
}

}  // namespace spd
