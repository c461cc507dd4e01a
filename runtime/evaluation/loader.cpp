#include "runtime/evaluation/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/input_file.h"
#include "model/json_object.h"

namespace spd {
namespace {

std::filesystem::path find_file(const Task& task, const std::filesystem::path& dir) {
  for (const char* ending : {".jsonl", "_val.jsonl"}) {
    const auto file = dir / (std::string(task.name) + ending);
    std::error_code error;
    if (std::filesystem::exists(file, error) || error) return file;  // reading it says why
  }
  throw Error(
      ErrorCode::input, fmt::format("{}/{}.jsonl: no such file", dir.string(), task.name),
      "check --data, or leave the task out of --tasks; spd eval --help describes the files");
}

TaskItem parse_item(const Task& task, std::string_view line, const std::string& where) {
  constexpr int kMaxDepth = 8;
  return task.make_item(
      JsonObject::parse(line, where, kMaxDepth)
          .advising(
              fmt::format("spd eval --help describes the fields of an item of {}", task.name)));
}

}  // namespace

std::vector<TaskItem> load_items(const Task& task, const std::filesystem::path& dir,
                                 const TaskSlice& slice) {
  const auto file = find_file(task, dir);
  const std::string content = read_file(file);
  std::string_view rest = without_bom(content);
  std::vector<TaskItem> items;
  std::int64_t number = 0;
  for (std::int64_t line_number = 1; !rest.empty(); ++line_number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
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
