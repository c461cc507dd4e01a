// The table of a command's options: a line each for the name, the variable, what it may be, and
// help.
//
//   OptionTable table;
//   OptionGroup work = table.group("Work");
//   work.add("batch", "B", &batch, at_least(1), "sequences");
//   work.add("kv-dtype", "T", &kv_dtype, one_of(DType::f16, DType::f32), "type of the KV cache");
//   work.flag("no-bound", &skip_bound, "leave the no-comm bound out");
//
// --help prints "sequences (default 1)": the value that the variable has when it is added, so that
// a default stands in one place. What a value may be is checked, and the variable set, by
// notify_options(); errors are usage Errors that name the flag, the value and what it may be.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <concepts>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/device/comma_list.h"

namespace spd {

/// The numbers that an option takes: at_least(1), above(0).and_at_most(1).
struct Limits {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool without_least = false;  ///< least itself is too little
  bool without_most = false;

  Limits and_at_most(double value) const { return {least, value, without_least, false}; }
  Limits and_below(double value) const { return {least, value, without_least, true}; }
  bool hold(double value) const;
  /// Throws usage Error where they do not hold. `text`: the value as it is to be shown.
  void check(const std::string& flag, double value, const std::string& text) const;
};
inline Limits any_number() { return {}; }
inline Limits at_least(double least) { return {.least = least}; }
inline Limits above(double least) { return {.least = least, .without_least = true}; }

/// "a, b or c".
std::string either_of(const std::vector<std::string_view>& names);
/// Throws usage Error: `given`, the value of `flag` or one of its items, is none of the names.
[[noreturn]] void refuse_name(const std::string& flag, std::string_view value,
                              std::string_view given, const std::vector<std::string_view>& names);

/// The values that an option has names for.
template <class T>
class Choices {
 public:
  Choices(std::initializer_list<std::pair<std::string_view, T>> choices) : choices_(choices) {}

  std::vector<std::string_view> names() const {
    std::vector<std::string_view> all;
    for (const auto& [name, value] : choices_) all.push_back(name);
    return all;
  }
  std::string name_of(const T& value) const {
    for (const auto& [name, known] : choices_) {
      if (known == value) return std::string(name);
    }
    return "";
  }
  std::string names_of(const std::vector<T>& values) const {
    std::string text;
    for (const T& value : values) {
      if (!text.empty()) text += ',';
      text += name_of(value);
    }
    return text;
  }
  T parse(const std::string& flag, std::string_view text) const { return find(flag, text, text); }
  /// Of "a,b".
  std::vector<T> parse_list(const std::string& flag, std::string_view text) const {
    std::vector<T> values;
    for (const std::string_view item : split_commas(text)) {
      values.push_back(find(flag, text, item));
    }
    return values;
  }

 private:
  T find(const std::string& flag, std::string_view text, std::string_view item) const {
    for (const auto& [name, value] : choices_) {
      if (name == item) return value;
    }
    refuse_name(flag, text, item, names());
  }

  std::vector<std::pair<std::string_view, T>> choices_;
};

/// Those of an enum by what name() calls them: one_of(DType::f16, DType::f32).
template <class T, std::same_as<T>... More>
requires std::is_enum_v<T> Choices<T> one_of(T first, More... more) {
  return {{name(first), first}, {name(more), more}...};
}
/// By names of their own: one_of<RateSchedule>({{"cosine", RateSchedule::cosine}, ...}).
template <class T>
Choices<T> one_of(std::initializer_list<std::pair<std::string_view, T>> choices) {
  return choices;
}

/// Instead of the variable's value, where a default is computed: "by size". "": none is shown.
using DefaultWords = std::optional<std::string>;

/// Whether a list may be "none".
enum class ListOf : std::uint8_t { some, some_or_none };

/// Options under one heading of --help; refers to its table.
///
/// `names`: "threads" or, with a letter, "threads,t". `takes`: what --help calls the value. `help`:
/// in lines of any length, they are filled; names of choices are listed behind it, but where it
/// tells of each itself.
class OptionGroup {
 public:
  using Parse = std::function<void(const std::string&)>;

  template <class Number>
  requires std::is_arithmetic_v<Number>
  void add(const std::string& names, const char* takes, Number* variable, const Limits& limits,
           std::string_view help, const DefaultWords& words = {}) {
    const auto check = [flag = flag_of(names), limits](Number value) {
      limits.check(flag, static_cast<double>(value), fmt::format("{}", value));
    };
    push(names, boost::program_options::value(variable)->value_name(takes)->notifier(check), help,
         shown(fmt::format("{}", *variable), words));
  }
  template <class T>
  void add(const std::string& names, const char* takes, T* variable, const Choices<T>& choices,
           std::string_view help, const DefaultWords& words = {}) {
    const auto parse = [flag = flag_of(names), variable, choices](const std::string& text) {
      *variable = choices.parse(flag, text);
    };
    push(names, one(takes)->notifier(parse), with_names(help, choices.names()),
         shown(choices.name_of(*variable), words));
  }
  /// A list "a,b", which may be given in several parts; "none" where nothing need be chosen.
  template <class T>
  void add(const std::string& names, const char* takes, std::vector<T>* variable,
           const Choices<T>& choices, std::string_view help, ListOf of = ListOf::some) {
    const bool may_be_none = of == ListOf::some_or_none;
    const std::string value =
        variable->empty() && may_be_none ? "none" : choices.names_of(*variable);
    const auto parse = [flag = flag_of(names), variable, choices,
                        may_be_none](const std::vector<std::string>& parts) {
      variable->clear();
      if (may_be_none && parts == std::vector<std::string>{"none"}) return;
      for (const std::string& part : parts) {
        for (const T& one : choices.parse_list(flag, part)) variable->push_back(one);
      }
    };
    push(names, several(takes)->notifier(parse), with_list(help, choices.names(), of),
         shown(value, {}));
  }
  /// A list of numbers, "16,32".
  void add(const std::string& names, const char* takes, std::vector<std::int64_t>* variable,
           const Limits& limits, std::string_view help);
  /// 0 or 1.
  void add(const std::string& names, bool* variable, std::string_view help);
  void add(const std::string& names, const char* takes, std::string* variable,
           std::string_view help, const DefaultWords& words = {});
  void add(const std::string& names, const char* takes, std::filesystem::path* variable,
           std::string_view help, const DefaultWords& words = {});
  /// May be given several times.
  void add(const std::string& names, const char* takes, std::vector<std::string>* variable,
           std::string_view help, const DefaultWords& words = {});

  /// The same for what must be given.
  void require(const std::string& names, const char* takes, std::string* variable,
               std::string_view help);
  void require(const std::string& names, const char* takes, std::filesystem::path* variable,
               std::string_view help);
  void require(const std::string& names, const char* takes, std::vector<std::string>* variable,
               std::string_view help);

  /// A value that `parse` takes, or throws usage Error for, which names the flag.
  void add_parsed(const std::string& names, const char* takes, const Parse& parse,
                  std::string_view help, const DefaultWords& words = {});
  /// The same for each of several values.
  void add_each_parsed(const std::string& names, const char* takes, const Parse& parse,
                       std::string_view help);

  /// Gives the variable `value` where the option is there.
  template <class T>
  void flag(const std::string& names, T* variable, std::type_identity_t<T> value,
            std::string_view help) {
    const auto set = [variable, value](bool is_given) {
      if (is_given) *variable = value;
    };
    push(names, boost::program_options::bool_switch()->notifier(set), help, "");
  }
  void flag(const std::string& names, bool* variable, std::string_view help) {
    flag(names, variable, true, help);
  }

  /// --config FILE and --help, which every command has.
  void add_config_and_help();

 private:
  friend class OptionTable;
  explicit OptionGroup(boost::program_options::options_description* options) : options_(options) {}

  static std::string flag_of(const std::string& names);
  static std::string shown(const std::string& value, const DefaultWords& words);
  static std::string with_names(std::string_view help, const std::vector<std::string_view>& names);
  static std::string with_list(std::string_view help, const std::vector<std::string_view>& names,
                               ListOf of);
  static boost::program_options::typed_value<std::string>* one(const char* takes);
  static boost::program_options::typed_value<std::vector<std::string>>* several(const char* takes);
  void push(const std::string& names, const boost::program_options::value_semantic* value,
            std::string_view help, const std::string& shown_default);

  boost::program_options::options_description* options_;
};

/// All options of a command, in groups as --help prints them.
class OptionTable {
 public:
  OptionGroup group(const std::string& heading);
  /// For store_arguments() and printing; refers to the variables.
  boost::program_options::options_description description() const;

 private:
  std::deque<boost::program_options::options_description> groups_;  // groups refer to them
};

}  // namespace spd
