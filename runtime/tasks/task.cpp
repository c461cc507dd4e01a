#include "runtime/tasks/task.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <stdexcept>

#include "kernels/device/comma_list.h"
#include "kernels/device/error.h"

namespace spd {
namespace {

using Json = nlohmann::json;

// Unicode scalars of valid UTF-8: bytes that do not continue a character.
std::int64_t count_characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

// Python's strip, ASCII.
std::string strip(const std::string& text) {
  constexpr const char* kSpace = " \t\n\v\f\r";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

// Python's capitalize: the first letter large, all others small. ASCII.
std::string capitalize(std::string text) {
  const auto fold = [](char c, char from, char to, int by) {
    return c >= from && c <= to ? static_cast<char>(c + by) : c;
  };
  for (char& c : text) c = fold(c, 'A', 'Z', 'a' - 'A');
  if (!text.empty()) text.front() = fold(text.front(), 'a', 'z', 'A' - 'a');
  return text;
}

std::int64_t gold_of(const Json& value, std::int64_t choices) {
  // Some exports hold the label as text.
  const std::int64_t gold =
      value.is_string() ? std::stoll(value.get<std::string>()) : value.get<std::int64_t>();
  if (gold < 0 || gold >= choices) {
    throw std::invalid_argument(fmt::format("choice {} of {}", gold, choices));
  }
  return gold;
}

// What stands between a prompt and its continuation. (GCC 12 warns wrongly of " " + text.)
std::string after_space(const std::string& text) { return std::string(1, ' ').append(text); }

// One prompt, several continuations.
TaskItem choose(const std::string& prompt, const std::vector<std::string>& choices,
                const Json& gold) {
  if (choices.size() < 2) throw std::invalid_argument("fewer than two choices");
  TaskItem item;
  for (const auto& choice : choices) {
    if (choice.empty()) throw std::invalid_argument("an empty choice");
    item.requests.push_back({prompt, after_space(choice)});
    item.characters.push_back(count_characters(choice));
  }
  item.gold = gold_of(gold, static_cast<std::int64_t>(choices.size()));
  return item;
}

TaskItem lambada(const Json& line) {
  TaskItem item;
  if (line.contains("text")) {
    const auto text = line.at("text").get<std::string>();
    const std::size_t space = text.rfind(' ');
    if (space == std::string::npos) throw std::invalid_argument("a passage of one word");
    item.requests.push_back({text.substr(0, space), text.substr(space)});
  } else {
    item.requests.push_back({line.at("context").get<std::string>(),
                             after_space(line.at("continuation").get<std::string>())});
  }
  item.characters.push_back(count_characters(item.requests[0].continuation) - 1);
  return item;
}

// "Question: ..." with or without the line's end.
std::string question(std::string query) {
  if (query.ends_with('\n')) query.pop_back();
  return query + "\nAnswer:";
}

TaskItem piqa(const Json& line) {
  if (line.contains("goal")) {
    return choose(question("Question: " + line.at("goal").get<std::string>()),
                  {line.at("sol1").get<std::string>(), line.at("sol2").get<std::string>()},
                  line.at("label"));
  }
  return choose(question(line.at("query").get<std::string>()),
                line.at("choices").get<std::vector<std::string>>(), line.at("gold"));
}

TaskItem arc(const Json& line) {
  if (line.contains("answerKey")) {
    const auto labels = line.at("choices").at("label").get<std::vector<std::string>>();
    const auto key = line.at("answerKey").get<std::string>();
    const auto found = std::find(labels.begin(), labels.end(), key);
    if (found == labels.end()) throw std::invalid_argument("answerKey is no label");
    return choose(question("Question: " + line.at("question").get<std::string>()),
                  line.at("choices").at("text").get<std::vector<std::string>>(),
                  found - labels.begin());
  }
  return choose(question(line.at("query").get<std::string>()),
                line.at("choices").get<std::vector<std::string>>(), line.at("gold"));
}

TaskItem sciq(const Json& line) {
  const auto support = line.at("support").get<std::string>();
  const std::string prompt =
      support.substr(std::min(support.size(), support.find_first_not_of(" \t\n\v\f\r"))) +
      "\nQuestion: " + line.at("question").get<std::string>() + "\nAnswer:";
  if (line.contains("correct_answer")) {
    std::vector<std::string> choices;
    for (const char* key : {"distractor1", "distractor2", "distractor3", "correct_answer"}) {
      choices.push_back(line.at(key).get<std::string>());
    }
    return choose(prompt, choices, 3);
  }
  return choose(prompt, line.at("choices").get<std::vector<std::string>>(), line.at("gold"));
}

// What the WikiHow half of the data brings along.
std::string clean_hellaswag(const std::string& text) {
  std::string cleaned = strip(text);
  replace_all(cleaned, " [title]", ". ");
  cleaned = std::regex_replace(cleaned, std::regex("\\[[^\n]*?\\]"), "");
  replace_all(cleaned, "  ", " ");
  return cleaned;
}

// The text form has the last, unfinished sentence begin small; the original field is capitalised.
std::string capitalize_fragment(const std::string& query) {
  std::size_t begin = query.find_last_of(".!?");
  if (begin == std::string::npos || begin + 1 == query.size()) return query;
  begin = query.find_first_not_of("\"')", begin + 1);
  if (begin == std::string::npos || query[begin] != ' ' || begin + 1 == query.size()) return query;
  return query.substr(0, begin + 1) + capitalize(query.substr(begin + 1));
}

TaskItem hellaswag(const Json& line) {
  if (line.contains("endings")) {
    const auto endings = line.at("endings").get<std::vector<std::string>>();
    std::vector<std::string> choices;
    for (const auto& ending : endings) choices.push_back(clean_hellaswag(ending));
    return choose(clean_hellaswag(line.at("activity_label").get<std::string>() + ": " +
                                  line.at("ctx_a").get<std::string>() + " " +
                                  capitalize(line.at("ctx_b").get<std::string>())),
                  choices, line.at("label"));
  }
  return choose(capitalize_fragment(line.at("query").get<std::string>()),
                line.at("choices").get<std::vector<std::string>>(), line.at("gold"));
}

// Two prompts, one continuation.
TaskItem winogrande(const Json& line) {
  TaskItem item;
  if (line.contains("sentence")) {
    const auto sentence = line.at("sentence").get<std::string>();
    const std::size_t blank = sentence.find('_');
    if (blank == std::string::npos) throw std::invalid_argument("a sentence without a blank");
    const std::string end = after_space(strip(sentence.substr(blank + 1)));
    for (const char* key : {"option1", "option2"}) {
      item.requests.push_back({sentence.substr(0, blank) + line.at(key).get<std::string>(), end});
    }
    item.gold = gold_of(line.at("answer"), 3) - 1;
    if (item.gold < 0) throw std::invalid_argument("answer is neither 1 nor 2");
  } else {
    const std::string end = after_space(line.at("continuation").get<std::string>());
    for (const auto& context : line.at("context_options").get<std::vector<std::string>>()) {
      item.requests.push_back({context, end});
    }
    item.gold = gold_of(line.at("gold"), static_cast<std::int64_t>(item.requests.size()));
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
