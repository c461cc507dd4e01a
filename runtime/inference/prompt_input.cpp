#include "runtime/inference/prompt_input.h"

#include <fmt/format.h>

#include <iterator>
#include <optional>

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/input_file.h"
#include "model/json_text.h"
#include "runtime/job/user_input.h"

namespace spd {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 64;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;
constexpr std::string_view kBlanks = " \t\r\n";

constexpr const char* kAsJson =
    R"(write {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}; a text that )"
    "begins with { or [ is given so, too";
constexpr const char* kAsUtf8 = "save it as UTF-8, for example by iconv -t UTF-8";

[[noreturn]] void refuse(const std::string& where, const std::string& problem,
                         const std::string& remedy) {
  throw Error(ErrorCode::input, fmt::format("{}: {}", where, problem), remedy);
}

// The parser's message with a remedy of prompts, and without the line where there is but one.
[[noreturn]] void refuse_json(const Error& error, bool one_line) {
  std::string said = error.message();
  constexpr std::string_view kLine = "line 1, column ";
  const std::size_t line = said.find(kLine);
  if (one_line && line != std::string::npos) said.replace(line, kLine.size(), "column ");
  throw Error(ErrorCode::input, said, kAsJson);
}

bool is_json_name(std::string_view name) {
  return name.ends_with(".jsonl") || name.ends_with(".ndjson") || name.ends_with(".json");
}

// The first byte behind blanks, 0 where there is none.
char lead_of(std::string_view text) {
  const std::size_t at = text.find_first_not_of(kBlanks);
  return at == std::string_view::npos ? '\0' : text[at];
}

bool begins_json(std::string_view text) {
  const char lead = lead_of(text);
  return lead == '{' || lead == '[';
}

// A line that says something.
struct Line {
  std::string_view text;  // without its end
  std::size_t number = 0;
};

std::string_view without_end(std::string_view line) {
  line = without_bom(line);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  std::optional<Line> next() {
    while (!rest_.empty()) {
      const std::size_t end = std::min(rest_.find('\n'), rest_.size());
      // A mark may stand wherever files were put behind each other.
      const std::string_view text = without_end(rest_.substr(0, end));
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      ++number_;
      if (lead_of(text) != '\0' || text.find('\0') != std::string_view::npos) {
        return Line{text, number_};
      }
    }
    return std::nullopt;
  }

 private:
  std::string_view rest_;
  std::size_t number_ = 0;
};

std::string origin_of(const std::string& name, const Line& line) {
  return fmt::format("{} line {}", name, line.number);
}

void check_text(const std::string& origin, std::string_view text) {
  if (text.find('\0') != std::string_view::npos) {
    refuse(origin, "has a zero byte: it is not text, or not in UTF-8", kAsUtf8);
  }
  const std::size_t bad = invalid_utf8_at(text);
  if (bad != std::string_view::npos) {
    refuse(origin, fmt::format("byte {} is not UTF-8", bad + 1), kAsUtf8);
  }
}

// Old programs end lines so: what would be one prompt was meant as several.
void check_line_ends(const std::string& origin, std::string_view text) {
  if (text.find('\r') == std::string_view::npos) return;
  refuse(origin, "has a carriage return within",
         R"(end lines with \n, or write the text as JSON: {"prompt": "...\r..."})");
}

Json parse_line(const std::string& name, const Line& line) {
  try {
    return parse_ordered_json(line.text, origin_of(name, line), kMaxDepth);
  } catch (const Error& error) {
    refuse_json(error, true);
  }
}

// The text as one value, if it does not begin with a value in a line of its own.
std::optional<Json> parse_whole(std::string_view text, const std::string& name) {
  const std::optional<Line> first = Lines(text).next();
  if (!first || !begins_json(first->text)) return std::nullopt;
  try {
    parse_ordered_json(first->text, name, kMaxDepth);
    return std::nullopt;
  } catch (const Error&) {
    // Cut within a value, or damaged.
  }
  try {
    return parse_ordered_json(text, name, kMaxDepth);
  } catch (const Error& error) {
    const std::size_t last = first->text.find_last_not_of(kBlanks);
    const bool goes_on = std::string_view("[{,").find(first->text[last]) != std::string_view::npos;
    const bool by_line = name.ends_with(".jsonl") || name.ends_with(".ndjson");
    if (goes_on && !by_line) refuse_json(error, false);
    return std::nullopt;  // the line itself is refused
  }
}

void check_encoding(std::string_view text, const std::string& name) {
  for (const std::string_view mark : {"\xFF\xFE", "\xFE\xFF"}) {
    if (text.starts_with(mark)) refuse(name, "is in UTF-16", kAsUtf8);
  }
}

}  // namespace

std::vector<Prompt> parse_prompts(std::string_view text, const std::string& name) {
  check_encoding(text, name);
  text = without_bom(text);
  if (const std::optional<Json> value = parse_whole(text, name)) return prompts_of(*value, name);
  std::vector<Prompt> prompts;
  Lines lines(text);
  while (const std::optional<Line> line = lines.next()) {
    const std::string origin = origin_of(name, *line);
    check_text(origin, line->text);
    if (is_json_name(name) || begins_json(line->text)) {
      std::vector<Prompt> more = prompts_of(parse_line(name, *line), origin);
      std::move(more.begin(), more.end(), std::back_inserter(prompts));
    } else {
      check_line_ends(origin, line->text);
      Prompt prompt;
      prompt.text = line->text;
      prompt.origin = origin;
      prompts.push_back(std::move(prompt));
    }
  }
  if (prompts.empty()) refuse(name, "no prompts", "give one prompt a line, or JSON lines");
  return prompts;
}

std::string plain_line(std::string_view line, const std::string& origin) {
  line = without_end(line);
  check_text(origin, line);
  return std::string(line);
}

std::vector<Prompt> read_prompts(const std::filesystem::path& file) {
  if (file == "-") return parse_prompts(read_stdin(kMostBytes), "stdin");
  // Whoever feeds a FIFO may take as long as one who types.
  const ReadLimits limits{kMostBytes, std::chrono::hours(24)};
  return parse_prompts(read_file(file, limits, "check --prompts"), file.string());
}

}  // namespace spd
