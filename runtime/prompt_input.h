// The prompts of a generate run: from the command line, a file or stdin.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "model/tokenizer/chat_template.h"

namespace spd {

/// One prompt: plain text, or a conversation to be put through the model's chat template.
struct Prompt {
  std::string text;
  std::vector<ChatMessage> messages;
  std::string origin;  ///< for messages: "--prompt", "prompts.jsonl line 3"
};

/// *.jsonl (and any input whose lines begin with '{'): {"prompt": TEXT} or {"messages": [...]} a
/// line. Otherwise a prompt a line. Blank lines are skipped. Throws input Error naming the line.
std::vector<Prompt> read_prompts(std::istream& stream, const std::string& name);
/// The same from a file; "-" is stdin.
std::vector<Prompt> read_prompts(const std::filesystem::path& file);

}  // namespace spd
