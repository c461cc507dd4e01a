// The prompts of a run, from a file or stdin.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/inference/prompt.h"

namespace spd {

/// The prompts of `text` (UTF-8, with or without a byte order mark); `name` is its file's.
///   Lines: one prompt a line; one that begins with { or [, after blanks or not, is JSON (see
///   prompts_of), any other is text. Blank lines are skipped. Lines of *.jsonl, *.ndjson and *.json
///   are all JSON.
///   One JSON value over several lines: prompts_of it.
/// Throws input Error naming the line.
std::vector<Prompt> parse_prompts(std::string_view text, const std::string& name);
/// Those of a file; "-" is stdin. Waits for pipes, FIFOs and terminals.
std::vector<Prompt> read_prompts(const std::filesystem::path& file);
/// A line of text without its end and byte order mark. Throws input Error that begins with `origin`
/// where it is not UTF-8.
std::string plain_line(std::string_view line, const std::string& origin);

}  // namespace spd
