// Zero-shot tasks: what an item asks of the model, with the prompts of lm-evaluation-harness
// (0.4: the task definitions of the same names, no few-shot examples, no chat template).
//
//   task             prompt                                      choices      reports
//   lambada_openai   the passage without its last word           that word    acc, perplexity
//   piqa             "Question: GOAL\nAnswer:"                    2            acc, acc_norm
//   hellaswag        "ACTIVITY: CONTEXT"                          4            acc, acc_norm
//   winogrande       sentence up to the blank, filled in         2 prompts    acc
//   arc_easy         "Question: QUESTION\nAnswer:"                3 to 5       acc, acc_norm
//   arc_challenge    the same
//   sciq             "SUPPORT\nQuestion: QUESTION\nAnswer:"       4            acc, acc_norm
//
// A space stands between prompt and continuation. WinoGrande scores the end of the sentence after
// each filling (partial evaluation, Trinh and Le 2018). LAMBADA counts a word as right where greedy
// decoding gives all its tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/json_object.h"

namespace spd {

/// A text whose continuation is scored.
struct Request {
  std::string context;
  std::string continuation;
  bool operator==(const Request&) const = default;
};

struct TaskItem {
  std::int64_t number = 0;        ///< of its line in the file, from 0
  std::vector<Request> requests;  ///< one a choice; LAMBADA: one
  std::int64_t gold = 0;          ///< the right choice
  /// Characters (Unicode scalars) of each choice: acc_norm compares log-likelihood / characters.
  std::vector<std::int64_t> characters;
};

struct Task {
  const char* name;  ///< lm-evaluation-harness's, and NAME.jsonl is its file
  bool acc_norm;     ///< reports acc_norm, too
  bool greedy;       ///< right where greedy decoding continues so, rather than by choice (LAMBADA)
  /// Throws input Error naming the line's file and key for what is missing or malformed.
  TaskItem (*make_item)(const JsonObject& line);
};

const std::vector<Task>& known_tasks();
/// "all" or names separated by commas. Throws usage Error for an unknown name.
std::vector<Task> parse_tasks(const std::string& names);

}  // namespace spd
