// Items' likelihoods to scores, scores to tables and JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/evaluation/results_file.h"
#include "runtime/evaluation/task.h"
#include "runtime/report/significance.h"

namespace spd {

/// What an item's likelihoods amount to; right is 1, wrong 0.
struct Grade {
  double acc = 0.0;
  double acc_norm = 0.0;        ///< by log-likelihood / characters
  double log_likelihood = 0.0;  ///< of the right continuation
};
/// Ties go to the first choice, as with numpy's argmax.
Grade grade(const Task& task, const TaskItem& item, const std::vector<Likelihood>& likelihoods);

enum class Metric { acc, acc_norm, perplexity };
const char* name(Metric metric);

/// One metric of one task, or of the mean over tasks.
struct MetricReport {
  std::string task;
  Metric metric = Metric::acc;
  std::int64_t items = 0;
  Estimate plan;
  std::optional<Estimate> baseline;
  std::optional<PairedDifference> paired;  ///< of perplexity: of the log-perplexity, in nats
};

class TaskReport {
 public:
  /// `results` are the items', in their order.
  void add(const Task& task, const std::vector<TaskItem>& items,
           const std::vector<ItemResult>& results);
  /// The mean over tasks of acc, and of acc_norm (acc where a task has none). Tasks count alike.
  /// Perplexities get their standard errors: seconds where there are thousands of items.
  void finish();

  const std::vector<MetricReport>& rows() const { return rows_; }
  void print() const;
  /// {"tasks": {NAME: {"items", METRIC: {...}}}, "mean": {METRIC: {...}}}
  nlohmann::json to_json() const;

 private:
  // Log-likelihoods of an item's right continuation, with and without the plan's levels.
  struct Likelihoods {
    std::size_t row = 0;  // of the perplexity
    std::vector<double> plan, baseline;
  };
  void bootstrap();

  std::vector<MetricReport> rows_;  // of tasks
  std::vector<Likelihoods> perplexities_;
  std::vector<MetricReport> means_;
};

}  // namespace spd
