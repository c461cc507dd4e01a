#include "runtime/job/option_table.h"

#include <fmt/ranges.h>

#include <charconv>

#include "kernels/device/error.h"
#include "model/nearest_name.h"

namespace spd {
namespace {

namespace po = boost::program_options;

// Lines of source as one: a line's end and the blanks around it are one blank.
std::string filled(std::string_view text) {
  std::string line;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    line += text.substr(at, end - at);
    line.erase(line.find_last_not_of(' ') + 1);
    at = std::min(text.find_first_not_of(" \n", end), text.size());
    if (end < text.size() && at < text.size() && !line.empty()) line += ' ';
  }
  return line;
}

auto* text_value(const char* takes, std::string* variable) {
  return po::value(variable)->value_name(takes);
}

// Boost would read a path as a quoted word.
auto* path_value(const char* takes, std::filesystem::path* variable) {
  return po::value<std::string>()->value_name(takes)->notifier(
      [variable](const std::string& text) { *variable = text; });
}

auto* texts_value(const char* takes, std::vector<std::string>* variable) {
  return po::value(variable)->value_name(takes)->composing();
}

std::vector<std::int64_t> parse_numbers(const std::string& flag, const std::string& list,
                                        const Limits& limits) {
  std::vector<std::int64_t> numbers;
  for (const std::string_view item : split_commas(list)) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), number);
    if (error != std::errc() || end != item.data() + item.size()) {
      throw Error(ErrorCode::usage,
                  fmt::format("{} {}: \"{}\" is not an integer", flag, list, item),
                  "give numbers such as 16,32");
    }
    limits.check(flag, static_cast<double>(number), std::string(item));
    numbers.push_back(number);
  }
  return numbers;
}

bool tells_of_all(std::string_view help, const std::vector<std::string_view>& names) {
  return std::all_of(names.begin(), names.end(), [&](std::string_view name) {
    return help.find(name) != std::string_view::npos;
  });
}

}  // namespace

bool Limits::hold(double value) const {
  return (without_least ? value > least : value >= least) &&
         (without_most ? value < most : value <= most);
}

void Limits::check(const std::string& flag, double value, const std::string& text) const {
  if (hold(value)) return;
  const bool has_least = least > -std::numeric_limits<double>::infinity();
  const bool has_most = most < std::numeric_limits<double>::infinity();
  const std::string from = fmt::format("{} {}", without_least ? "above" : "at least", least);
  const std::string to = fmt::format("{} {}", without_most ? "below" : "at most", most);
  std::string why;
  if (!has_most && !without_least) {
    why = fmt::format("less than {}", least);
  } else if (!has_least || !has_most) {
    why = "not " + (has_least ? from : to);
  } else if (without_least || without_most) {
    why = fmt::format("not {} and {}", from, to);
  } else {
    why = fmt::format("not from {} to {}", least, most);
  }
  throw Error(ErrorCode::usage, fmt::format("{} {} is {}", flag, text, why),
              "see --help for what it means");
}

std::string either_of(const std::vector<std::string_view>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 < names.size() ? ", " : " or ";
    text += names[i];
  }
  return text;
}

void refuse_name(const std::string& flag, std::string_view value, std::string_view given,
                 const std::vector<std::string_view>& names) {
  const std::string what = value == given ? fmt::format("{} {}", flag, given)
                                          : fmt::format("{} {}: \"{}\"", flag, value, given);
  throw Error(ErrorCode::usage, fmt::format("{} is unknown{}", what, did_you_mean(given, names)),
              fmt::format("use {}", either_of(names)));
}

void OptionGroup::add(const std::string& names, const char* takes,
                      std::vector<std::int64_t>* variable, const Limits& limits,
                      std::string_view help) {
  const auto parse = [flag = flag_of(names), variable, limits](const std::string& list) {
    *variable = parse_numbers(flag, list, limits);
  };
  push(names, one(takes)->notifier(parse), help,
       shown(fmt::format("{}", fmt::join(*variable, ",")), {}));
}

void OptionGroup::add(const std::string& names, bool* variable, std::string_view help) {
  push(names, po::value(variable)->value_name("0|1"), help, shown(*variable ? "1" : "0", {}));
}

void OptionGroup::add(const std::string& names, const char* takes, std::string* variable,
                      std::string_view help, const DefaultWords& words) {
  push(names, text_value(takes, variable), help, shown(*variable, words));
}

void OptionGroup::add(const std::string& names, const char* takes, std::filesystem::path* variable,
                      std::string_view help, const DefaultWords& words) {
  push(names, path_value(takes, variable), help, shown(variable->string(), words));
}

void OptionGroup::add(const std::string& names, const char* takes,
                      std::vector<std::string>* variable, std::string_view help,
                      const DefaultWords& words) {
  push(names, texts_value(takes, variable), help,
       shown(fmt::format("{}", fmt::join(*variable, ",")), words));
}

void OptionGroup::require(const std::string& names, const char* takes, std::string* variable,
                          std::string_view help) {
  push(names, text_value(takes, variable)->required(), help, "");
}

void OptionGroup::require(const std::string& names, const char* takes,
                          std::filesystem::path* variable, std::string_view help) {
  push(names, path_value(takes, variable)->required(), help, "");
}

void OptionGroup::require(const std::string& names, const char* takes,
                          std::vector<std::string>* variable, std::string_view help) {
  push(names, texts_value(takes, variable)->required(), help, "");
}

void OptionGroup::add_parsed(const std::string& names, const char* takes, const Parse& parse,
                             std::string_view help, const DefaultWords& words) {
  push(names, one(takes)->notifier(parse), help, shown("", words));
}

void OptionGroup::add_each_parsed(const std::string& names, const char* takes, const Parse& parse,
                                  std::string_view help) {
  const auto each = [parse](const std::vector<std::string>& all) {
    for (const std::string& one : all) parse(one);
  };
  push(names, several(takes)->notifier(each), help, "");
}

void OptionGroup::add_config_and_help() {
  push("config", po::value<std::string>()->value_name("FILE"),
       "read options from a file of lines \"name = value\"; the command line wins", "");
  options_->add_options()("help,h", "this text");
}

std::string OptionGroup::flag_of(const std::string& names) {
  return "--" + names.substr(0, names.find(','));
}

std::string OptionGroup::shown(const std::string& value, const DefaultWords& words) {
  const std::string& text = words ? *words : value;
  if (text.empty()) return "";
  return fmt::format(" (default{} {})", words ? ":" : "", text);
}

std::string OptionGroup::with_list(std::string_view help,
                                   const std::vector<std::string_view>& names, ListOf of) {
  if (tells_of_all(help, names)) return std::string(help);
  return fmt::format("{}: {}{}", help, fmt::join(names, ", "),
                     of == ListOf::some_or_none ? ", or none" : "");
}

std::string OptionGroup::with_names(std::string_view help,
                                    const std::vector<std::string_view>& names) {
  return tells_of_all(help, names) ? std::string(help)
                                   : fmt::format("{}: {}", help, either_of(names));
}

po::typed_value<std::string>* OptionGroup::one(const char* takes) {
  return po::value<std::string>()->value_name(takes);
}

po::typed_value<std::vector<std::string>>* OptionGroup::several(const char* takes) {
  return po::value<std::vector<std::string>>()->value_name(takes)->composing();
}

void OptionGroup::push(const std::string& names, const po::value_semantic* value,
                       std::string_view help, const std::string& shown_default) {
  const std::string text = filled(help) + shown_default;
  options_->add_options()(names.c_str(), value, text.c_str());
}

OptionGroup OptionTable::group(const std::string& heading) {
  return OptionGroup(&groups_.emplace_back(heading));
}

po::options_description OptionTable::description() const {
  po::options_description all;
  for (const po::options_description& group : groups_) all.add(group);
  return all;
}

}  // namespace spd
