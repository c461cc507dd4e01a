#include "runtime/evaluation/task.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "kernels/device/comma_list.h"
#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/tokenizer/python_text.h"
#include "runtime/evaluation/hellaswag_text.h"

namespace spd {
namespace {

// Unicode scalars of valid UTF-8: bytes that do not continue a character.
std::int64_t count_characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); });
}

// The right choice, counted from `first` in the file and from 0 here.
std::int64_t gold_of(const JsonObject& line, const char* key, std::size_t choices,
                     std::int64_t first = 0) {
  const std::int64_t last = first + static_cast<std::int64_t>(choices) - 1;
  // Some exports hold the label as text.
  if (!line.raw(key).is_string()) return line.integer(key, first, last) - first;
  const std::string text = line.string(key);
  std::int64_t gold = first - 1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), gold);
  if (error != std::errc() || end != text.data() + text.size() || gold < first || gold > last) {
    line.fail(key, fmt::format("must be an integer from {} to {}, found {}", first, last,
                               shown_json(line.raw(key))));
  }
  return gold - first;
}

// What stands between a prompt and its continuation. (GCC 12 warns wrongly of " " + text.)
std::string after_space(const std::string& text) { return std::string(1, ' ').append(text); }

// One prompt, several continuations. An empty one is scored as a space, as the harness does.
TaskItem choose(const JsonObject& line, const std::string& prompt, const char* choices_key,
                const std::vector<std::string>& choices) {
  if (choices.size() < 2) line.fail(choices_key, "has fewer than two choices");
  TaskItem item;
  for (const auto& choice : choices) {
    item.requests.push_back({prompt, after_space(choice)});
    item.characters.push_back(count_characters(choice));
  }
  return item;
}

// The compact form's choices and gold.
TaskItem choose_compact(const JsonObject& line, const std::string& prompt,
                        const std::vector<std::string>& choices) {
  TaskItem item = choose(line, prompt, "choices", choices);
  item.gold = gold_of(line, "gold", choices.size());
  return item;
}
TaskItem choose_compact(const JsonObject& line, const std::string& prompt) {
  return choose_compact(line, prompt, line.strings("choices"));
}

TaskItem lambada(const JsonObject& line) {
  TaskItem item;
  if (line.contains("text")) {
    const std::string text = line.string("text");
    const std::size_t space = text.rfind(' ');
    item.requests.push_back(space == std::string::npos
                                ? Request{"", after_space(text)}
                                : Request{text.substr(0, space), text.substr(space)});
  } else {
    item.requests.push_back({line.string("context"), after_space(line.string("continuation"))});
  }
  item.characters.push_back(count_characters(item.requests[0].continuation) - 1);
  return item;
}

// The compact form's "Question: ...", with or without the line's end.
std::string compact_question(const JsonObject& line) {
  std::string query = line.string("query");
  if (query.ends_with('\n')) query.pop_back();
  return query + "\nAnswer:";
}

TaskItem piqa(const JsonObject& line) {
  if (!line.contains("goal")) return choose_compact(line, compact_question(line));
  TaskItem item = choose(line, "Question: " + line.string("goal") + "\nAnswer:", "sol1",
                         {line.string("sol1"), line.string("sol2")});
  item.gold = gold_of(line, "label", 2);
  return item;
}

TaskItem arc(const JsonObject& line) {
  if (!line.contains("answerKey")) return choose_compact(line, compact_question(line));
  const JsonObject choices = line.object("choices");
  const auto labels = choices.strings("label");
  const auto texts = choices.strings("text");
  if (labels.size() != texts.size()) choices.fail("label", "are not as many as the texts");
  TaskItem item =
      choose(line, "Question: " + line.string("question") + "\nAnswer:", "choices.text", texts);
  const auto found = std::find(labels.begin(), labels.end(), line.string("answerKey"));
  if (found == labels.end()) line.fail("answerKey", "is no label of the choices");
  item.gold = found - labels.begin();
  return item;
}

TaskItem sciq(const JsonObject& line) {
  const std::string support = line.string("support");
  const std::string prompt =
      std::string(python_lstrip(support)) + "\nQuestion: " + line.string("question") + "\nAnswer:";
  if (!line.contains("correct_answer")) return choose_compact(line, prompt);
  std::vector<std::string> choices;
  for (const char* key : {"distractor1", "distractor2", "distractor3", "correct_answer"}) {
    choices.push_back(line.string(key));
  }
  TaskItem item = choose(line, prompt, "correct_answer", choices);
  item.gold = 3;
  return item;
}

TaskItem hellaswag(const JsonObject& line) {
  std::vector<std::string> choices;
  if (!line.contains("endings")) {
    for (const auto& choice : line.strings("choices")) {
      choices.push_back(clean_compact_hellaswag(choice));
    }
    return choose_compact(line, capitalize_fragment(clean_compact_hellaswag(line.string("query"))),
                          choices);
  }
  for (const auto& ending : line.strings("endings")) choices.push_back(clean_hellaswag(ending));
  TaskItem item =
      choose(line,
             clean_hellaswag(line.string("activity_label") + ": " + line.string("ctx_a") + " " +
                             python_capitalize(line.string("ctx_b"))),
             "endings", choices);
  item.gold = gold_of(line, "label", choices.size());
  return item;
}

// Two prompts, one continuation.
TaskItem winogrande(const JsonObject& line) {
  TaskItem item;
  if (line.contains("sentence")) {
    const std::string sentence = line.string("sentence");
    const std::size_t blank = sentence.find('_');
    if (blank == std::string::npos) line.fail("sentence", "has no blank");
    const std::string end =
        after_space(std::string(python_strip(std::string_view(sentence).substr(blank + 1))));
    for (const char* key : {"option1", "option2"}) {
      item.requests.push_back({sentence.substr(0, blank) + line.string(key), end});
    }
    item.gold = gold_of(line, "answer", 2, 1);
  } else {
    const std::string end = after_space(line.string("continuation"));
    for (const auto& context : line.strings("context_options")) {
      item.requests.push_back({context, end});
    }
    if (item.requests.size() < 2) line.fail("context_options", "has fewer than two choices");
    item.gold = gold_of(line, "gold", item.requests.size());
  }
  for (const Request& request : item.requests) {
    item.characters.push_back(count_characters(request.context));
  }
  return item;
}

}  // namespace
const std::vector<Task>& known_tasks() {
  static const std::vector<Task> tasks = {
      {"lambada_openai", false, true, lambada},
      {"piqa", true, false, piqa},
      {"hellaswag", true, false, hellaswag},
      {"winogrande", false, false, winogrande},
      {"arc_easy", true, false, arc},
      {"arc_challenge", true, false, arc},
      {"sciq", true, false, sciq},
  };
  return tasks;
}

std::vector<Task> parse_tasks(const std::string& names) {
  if (names == "all") return known_tasks();
  std::vector<Task> tasks;
  for (const std::string_view name : split_commas(names)) {
    const auto is_named = [&](const Task& task) { return name == task.name; };
    const auto found = std::find_if(known_tasks().begin(), known_tasks().end(), is_named);
    if (found == known_tasks().end()) {
      std::string known;
      for (const Task& task : known_tasks()) known += std::string(" ") + task.name;
      throw Error(ErrorCode::usage, fmt::format("--tasks: unknown task \"{}\"", name),
                  "use all, or some of:" + known);
    }
    if (std::none_of(tasks.begin(), tasks.end(), is_named)) tasks.push_back(*found);
  }
  return tasks;
}

}  // namespace spd
