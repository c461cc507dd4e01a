// Options that say which prompts there are, and how they become the model's input.
#pragma once

#include <boost/program_options.hpp>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/inference/prompt.h"

namespace spd {

struct PromptOptions {
  std::vector<std::string> prompts;  ///< of --prompt
  std::string file;                  ///< of --prompts; "-" is stdin, empty: none
  bool chat = false;                 ///< plain prompts are a user's messages
  std::string system;                ///< message for conversations that have none of their own
  /// Further variables of the chat template, by name.
  nlohmann::ordered_json template_arguments = nlohmann::ordered_json::object();
  std::time_t now = 0;  ///< what templates take for today

  boost::program_options::options_description describe();
  /// Throws usage Error for options that contradict each other, and texts that are not UTF-8.
  void check() const;
  /// Whether a conversation was asked for instead of prompts.
  bool converses() const { return chat && prompts.empty() && file.empty(); }
  /// The prompts of the command line.
  std::vector<Prompt> from_command_line() const;
};

}  // namespace spd
