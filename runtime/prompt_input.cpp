#include "runtime/prompt_input.h"

#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"

namespace spd {
namespace {

Prompt parse_json_prompt(const std::string& line, const std::string& origin) {
  Prompt prompt;
  prompt.origin = origin;
  try {
    const auto json = nlohmann::json::parse(line);
    if (json.contains("messages")) {
      for (const auto& message : json.at("messages")) {
        prompt.messages.push_back(
            {message.at("role").get<std::string>(), message.at("content").get<std::string>()});
      }
      if (prompt.messages.empty())
        throw Error(ErrorCode::input, origin + ": no messages", "give at least a user's message");
    } else {
      prompt.text = json.at("prompt").get<std::string>();
    }
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::input, fmt::format("{}: {}", origin, error.what()),
                R"(write {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]})");
  }
  return prompt;
}

}  // namespace

std::vector<Prompt> read_prompts(std::istream& stream, const std::string& name) {
  std::vector<Prompt> prompts;
  const bool jsonl = name.ends_with(".jsonl");
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    const std::string origin = fmt::format("{} line {}", name, number);
    if (jsonl || line.front() == '{') {
      prompts.push_back(parse_json_prompt(line, origin));
    } else {
      prompts.push_back({line, {}, origin});
    }
  }
  if (prompts.empty()) {
    throw Error(ErrorCode::input, fmt::format("{}: no prompts", name),
                "give one prompt a line, or JSON lines");
  }
  return prompts;
}

std::vector<Prompt> read_prompts(const std::filesystem::path& file) {
  if (file == "-") return read_prompts(std::cin, "stdin");
  std::ifstream stream(file);
  if (!stream) {
    throw Error(ErrorCode::input, fmt::format("{}: cannot read the prompts", file.string()),
                "check --prompts");
  }
  return read_prompts(stream, file.string());
}

}  // namespace spd
