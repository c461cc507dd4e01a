#include "runtime/commands/option_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>
#include <string_view>

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/input_file.h"
#include "model/nearest_name.h"

namespace spd {
namespace {

namespace po = boost::program_options;

constexpr const char* kSeeHelp = "see --help for the options";

[[noreturn]] void refuse(const std::string& where, const std::string& why,
                         const std::string& remedy = kSeeHelp) {
  throw Error(ErrorCode::usage, where + why, remedy);
}

std::string_view without_dashes(std::string_view name) {
  name.remove_prefix(std::min(name.find_first_not_of('-'), name.size()));
  return name;
}

// `dashes`: what the names have in front.
std::string nearest_option(std::string_view dashes, std::string_view name,
                           const po::options_description& options) {
  std::vector<std::string> known;
  for (const auto& option : options.options()) {
    known.push_back(fmt::format("{}{}", dashes, option->long_name()));
  }
  const std::vector<std::string_view> names(known.begin(), known.end());
  return did_you_mean(fmt::format("{}{}", dashes, without_dashes(name)), names);
}

// What an option of this type takes.
const char* expected_by(const po::option_description* option) {
  if (!option) return "a value";
  const auto* typed = dynamic_cast<const po::typed_value_base*>(option->semantic().get());
  if (!typed) return "a value";
  const std::type_info& type = typed->value_type();
  if (type == typeid(bool)) return "0 or 1";
  if (type == typeid(double) || type == typeid(float)) return "a number";
  if (type == typeid(int) || type == typeid(std::int64_t) || type == typeid(std::size_t) ||
      type == typeid(std::uint64_t)) {
    return "an integer";
  }
  return "a value";
}

// What was given for an option, as far as it can be told.
std::string given_for(const std::string& name, const po::parsed_options& parsed) {
  for (const auto& option : parsed.options) {
    if (without_dashes(option.string_key) == without_dashes(name)) {
      return fmt::format(" {}", fmt::join(option.value, " "));
    }
  }
  return "";
}

// Boost's error as a message of ours. `parsed`: what was read of the arguments so far.
[[noreturn]] void translate(const po::error& error, const std::string& where,
                            const po::options_description& options,
                            const po::parsed_options& parsed) {
  const auto* named = dynamic_cast<const po::error_with_option_name*>(&error);
  if (!named) refuse(where, error.what());
  const std::string name = named->get_option_name();
  const po::option_description* option =
      options.find_nothrow(std::string(without_dashes(name)), false);
  if (!option) option = options.find_nothrow(name, false);  // a short one
  if (dynamic_cast<const po::unknown_option*>(&error)) {
    refuse(where, fmt::format("unknown option {}{}", name, nearest_option("--", name, options)));
  }
  if (const auto* several = dynamic_cast<const po::ambiguous_option*>(&error)) {
    refuse(where,
           fmt::format("{} may mean --{}", name, fmt::join(several->alternatives(), " or --")));
  }
  if (dynamic_cast<const po::required_option*>(&error)) {
    refuse(where, fmt::format("--{} is required", without_dashes(name)));
  }
  if (dynamic_cast<const po::multiple_occurrences*>(&error)) {
    refuse(where, fmt::format("{} is given more than once", name));
  }
  const std::string given = given_for(name, parsed);
  if (const auto* value = dynamic_cast<const po::validation_error*>(&error);
      value && value->kind() != po::validation_error::at_least_one_value_required) {
    refuse(where, fmt::format("{}{} is not {} that it takes", name, given, expected_by(option)));
  }
  if (const auto* syntax = dynamic_cast<const po::invalid_syntax*>(&error);
      syntax && syntax->kind() == po::invalid_syntax::extra_parameter) {
    refuse(where, fmt::format("{} takes no value", name));
  }
  refuse(where, fmt::format("{} needs {}", name, expected_by(option)));
}

// Nothing is meant by an empty name or number: it comes of a variable that a script forgot to set.
void check_given(const std::string& where, const po::parsed_options& parsed) {
  constexpr std::array<std::string_view, 3> kTexts{"prompt", "system", "template-arg"};
  for (const auto& option : parsed.options) {
    const std::string_view name = without_dashes(option.string_key);
    if (option.string_key.empty() || option.unregistered ||
        std::find(kTexts.begin(), kTexts.end(), name) != kTexts.end()) {
      continue;
    }
    if (std::find(option.value.begin(), option.value.end(), "") == option.value.end()) continue;
    refuse(where, fmt::format("--{} is given nothing", name),
           "give it a value, or leave the option out");
  }
}

// Beyond these no count of ours has a meaning, and sums of a few of them do not overflow.
template <class Integer>
void check_integer(const std::string& where, const std::string& name, const boost::any& value) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto* number = boost::any_cast<Integer>(&value);
  if (!number || (*number >= -kMost && *number <= kMost)) return;
  refuse(where, fmt::format("--{} {} is out of range", name, *number),
         fmt::format("give at most {}", kMost));
}

void check_numbers(const std::string& where, const po::variables_map& values) {
  for (const auto& [name, value] : values) {
    check_integer<std::int64_t>(where, name, value.value());
    const auto* number = boost::any_cast<double>(&value.value());
    const auto* single = boost::any_cast<float>(&value.value());
    if ((number && !std::isfinite(*number)) || (single && !std::isfinite(*single))) {
      refuse(where, fmt::format("--{} is not a finite number", name));
    }
  }
}

// What a file of options cannot say.
void check_belongs(const std::string& where, const po::option_description& option) {
  const std::string& name = option.long_name();
  if (name != "config" && name != "help") return;
  refuse(where, fmt::format("\"{}\" is for the command line alone", name),
         "leave the line out" +
             std::string(name == "config" ? "; put all options into one file" : ""));
}

std::mutex contents_lock;

// What a file of options says. Options are stored several times, for the start and by every virtual
// rank, but a pipe says what it has to say once.
std::string option_file_content(const std::filesystem::path& file) {
  static std::map<std::filesystem::path, std::string> of_pipes;
  const std::scoped_lock lock(contents_lock);
  const auto known = of_pipes.find(file);
  if (known != of_pipes.end()) return known->second;
  ReadLimits limits;
  limits.most_bytes = std::uint64_t{1} << 20;
  std::string content = read_file(file, limits);
  content.erase(0, content.size() - without_bom(content).size());
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) of_pipes.emplace(file, content);
  return content;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const std::size_t first = std::min(text.find_first_not_of(kSpace), text.size());
  const std::size_t end = text.find_last_not_of(kSpace) + 1;
  return end > first ? text.substr(first, end - first) : std::string_view();
}

}  // namespace

void store_arguments(const po::options_description& options,
                     const std::vector<std::string>& arguments, OtherOptions others,
                     po::variables_map& values) {
  po::parsed_options parsed(&options);
  try {
    po::command_line_parser parser(arguments);
    parser.options(options);
    if (others == OtherOptions::left) parser.allow_unregistered();
    parsed = parser.run();
    for (const auto& option : parsed.options) {
      if (others == OtherOptions::refused && option.string_key.empty()) {
        refuse("", fmt::format("\"{}\" belongs to no option", fmt::join(option.value, " ")));
      }
    }
    check_given("", parsed);
    po::store(parsed, values);
  } catch (const po::error& error) {
    translate(error, "", options, parsed);
  }
  check_numbers("", values);
}

void store_option_file(const po::options_description& options, const std::filesystem::path& file,
                       OtherOptions others, po::variables_map& values) {
  const std::string flag = fmt::format("--config {}", file.string());
  std::string content;
  try {
    content = option_file_content(file);
  } catch (const Error& error) {
    throw Error(ErrorCode::usage, fmt::format("--config {}", error.message()), error.remedy());
  }
  std::istringstream lines(content);
  std::map<std::string, std::int64_t> lines_of;  // of names
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::string where = fmt::format("{} line {}: ", flag, ++number);
    const std::string_view text = trimmed(line);
    if (text.empty() || text.front() == '#') continue;
    const std::size_t equals = text.find('=');
    const std::string_view name = trimmed(text.substr(0, std::min(equals, text.size())));
    if (equals == std::string_view::npos || name.empty()) {
      refuse(where, fmt::format("\"{}\" is no line \"name = value\"", text));
    }
    if (name.front() == '-') {
      refuse(where, fmt::format("\"{}\" is no option's name", name),
             "write the long name without dashes");
    }
    const po::option_description* option = options.find_nothrow(std::string(name), false);
    if (!option && others == OtherOptions::left) continue;
    if (!option) {
      refuse(where,
             fmt::format("unknown option \"{}\"{}", name, nearest_option("", name, options)));
    }
    check_belongs(where, *option);
    const auto [earlier, is_first] = lines_of.try_emplace(std::string(name), number);
    if (!is_first && !option->semantic()->is_composing()) {
      refuse(where, fmt::format("\"{}\" is given in line {} already", name, earlier->second));
    }
    po::parsed_options parsed(&options);
    try {
      // Not by Boost's own reader, which takes a "#" anywhere for a comment.
      const std::string_view value = trimmed(text.substr(equals + 1));
      parsed.options.emplace_back(std::string(name), std::vector{std::string(value)});
      check_given(where, parsed);
      po::store(parsed, values);
    } catch (const po::error& error) {
      translate(error, where, options, parsed);
    }
    check_numbers(where, values);
  }
}

void notify_options(po::variables_map& values) {
  try {
    po::notify(values);
  } catch (const po::required_option& error) {
    refuse("", fmt::format("--{} is required", without_dashes(error.get_option_name())));
  }
}

}  // namespace spd
