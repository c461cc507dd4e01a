// tests/fixtures/tasks/reference.json: what scripts/fixtures/tasks.py had
// lm-evaluation-harness make of a few items of each task.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>

#include "runtime/evaluation/task.h"

namespace spd {

/// How a test's name shows its task.
inline void PrintTo(const Task& task, std::ostream* stream) { *stream << task.name; }

inline nlohmann::json read_task_reference() {
  std::ifstream stream(std::filesystem::path(SPD_FIXTURES) / "tasks" / "reference.json");
  return nlohmann::json::parse(stream);
}

inline std::vector<Request> reference_requests(const nlohmann::json& item) {
  std::vector<Request> requests;
  for (const auto& request : item.at("requests")) {
    requests.push_back({request.at(0).get<std::string>(), request.at(1).get<std::string>()});
  }
  return requests;
}

}  // namespace spd
