// spd eval --tasks: the run over all tasks, on every rank.
#pragma once

#include <string>

#include "runtime/commands/command.h"

namespace spd {

struct TaskOptions {
  std::string names;          ///< "all" or a list; empty: no tasks asked for
  std::string data;           ///< folder of the .jsonl files
  std::string items;          ///< file of per-item results, to go on from; empty: none
  std::string shard = "0/1";  ///< "i/n": this job's part of the items
  std::int64_t limit = 0;     ///< the first so many items a task; 0: all

  /// Whether all items are this job's.
  bool is_whole() const { return shard == "0/1"; }
  po::options_description describe();
};

/// What --help says of tasks, behind the options.
extern const char* const kTasksHelp;

/// Scores the tasks with the plan and, where levels for one are chosen, the baseline. All ranks
/// call it alike; the root prints and writes. `baseline`: see choose_baseline().
/// Throws AgreedError after SIGTERM or SIGINT, with what was done kept in options.items.
void run_tasks(RankContext& context, const CommonOptions& common, const TaskOptions& options,
               const std::string& baseline);

}  // namespace spd
