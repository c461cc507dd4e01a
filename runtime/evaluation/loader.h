// Task data: DIR/NAME.jsonl (or DIR/NAME_val.jsonl), one item a line, UTF-8.
//
// Either form of each task is read; further fields are ignored, "gold" counts from 0.
//
//   compact (MosaicML's llm-foundry)                     as the datasets library exports it
//   lambada_openai    context, continuation              text
//   piqa              query, choices, gold               goal, sol1, sol2, label
//   hellaswag         query, choices, gold               activity_label, ctx_a, ctx_b, endings,
//   label winogrande        context_options, continuation,     sentence, option1, option2, answer
//                     gold
//   arc_easy,         query, choices, gold               question, choices {text, label}, answerKey
//   arc_challenge
//   sciq              support, question, choices, gold   support, question, distractor1..3,
//                                                        correct_answer
//
// where "query" is "Question: ..." for piqa and arc.
#pragma once

#include "runtime/evaluation/task.h"

namespace spd {

/// Which part of the items a job does: those whose number leaves `index` when divided by `count`.
struct TaskSlice {
  std::int64_t limit = 0;  ///< the first so many items of a file; 0: all
  std::int64_t index = 0;
  std::int64_t count = 1;
};

/// Throws input Error naming file and line for what is missing or malformed.
std::vector<TaskItem> load_items(const Task& task, const std::filesystem::path& dir,
                                 const TaskSlice& slice);

}  // namespace spd
