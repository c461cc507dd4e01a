#include "runtime/tasks/loader.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "model/json_object.h"

namespace spd {
namespace {

std::filesystem::path find_file(const Task& task, const std::filesystem::path& dir) {
  for (const char* ending : {".jsonl", "_val.jsonl"}) {
    const auto file = dir / (std::string(task.name) + ending);
    if (std::filesystem::exists(file)) return file;
  }
  throw Error(
      ErrorCode::input, fmt::format("{}/{}.jsonl: no such file", dir.string(), task.name),
      "check --data, or leave the task out of --tasks; spd eval --help describes the files");
}

TaskItem parse_item(const Task& task, const std::string& line, const std::string& where) {
  constexpr int kMaxDepth = 8;
  try {
    return task.make_item(parse_json(line, where, kMaxDepth));
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::input,
                fmt::format("{}: not an item of {}: {}", where, task.name, error.what()),
                "spd eval --help describes the fields");
  }
}

}  // namespace

std::vector<TaskItem> load_items(const Task& task, const std::filesystem::path& dir,
                                 const TaskSlice& slice) {
  const auto file = find_file(task, dir);
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    throw Error(ErrorCode::input, fmt::format("{}: cannot read the file", file.string()),
                "check its permissions");
  }
  std::vector<TaskItem> items;
  std::int64_t number = 0;
  std::int64_t line_number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (slice.limit > 0 && number == slice.limit) break;
    if (number % slice.count == slice.index) {
      items.push_back(
          parse_item(task, line, fmt::format("{} line {}", file.string(), line_number)));
      items.back().number = number;
    }
    ++number;
  }
  if (number == 0) {
    throw Error(ErrorCode::input, fmt::format("{}: no items", file.string()), "check the file");
  }
  return items;
}

}  // namespace spd
