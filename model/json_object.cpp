#include "model/json_object.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/device/error.h"
#include "model/input_file.h"
#include "model/nearest_name.h"

namespace spd {
namespace {

constexpr const char* kReplace = "mend the file, or replace it by an undamaged copy";

/// Whether `value` is an integer in [smallest, largest], of whatever of the library's two kinds.
bool is_integer_within(const nlohmann::json& value, std::int64_t smallest, std::int64_t largest) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    return false;
  }
  const auto number = value.get<std::int64_t>();
  return number >= smallest && number <= largest;
}

bool is_number_within(const nlohmann::json& value, double smallest, double largest) {
  if (!value.is_number()) return false;
  const auto number = value.get<double>();
  return std::isfinite(number) && number >= smallest && number <= largest;
}

}  // namespace

JsonObject JsonObject::load(const std::filesystem::path& file, int max_depth) {
  const std::string text = read_file(file, {}, "check that the file is there and may be read");
  if (text.empty()) {
    throw Error(ErrorCode::input, fmt::format("{}: is empty", file.string()), kReplace);
  }
  return parse(text, file, max_depth);
}

JsonObject JsonObject::parse(std::string_view text, const std::filesystem::path& where,
                             int max_depth) {
  return of(parse_json(text, where.string(), max_depth), where);
}

JsonObject JsonObject::of(nlohmann::json value, const std::filesystem::path& where) {
  if (!value.is_object()) {
    throw Error(
        ErrorCode::input,
        fmt::format("{}: must hold a JSON object, found {}", where.string(), shown_json(value)),
        kReplace);
  }
  return JsonObject(where, "", std::move(value), kReplace);
}

JsonObject JsonObject::advising(std::string remedy) && {
  remedy_ = std::move(remedy);
  return std::move(*this);
}

void JsonObject::check_schema(const std::string& wanted, const std::string& remedy) const {
  if (string("schema") == wanted) return;
  const std::string by =
      raw("version").is_string() ? fmt::format(" (of spd {})", shown_json(raw("version"))) : "";
  fail("schema", fmt::format("is {}{}, not \"{}\"", shown_json(raw("schema")), by, wanted), remedy);
}

void JsonObject::check_keys(std::initializer_list<std::string_view> known) const {
  for (const auto& item : value_.items()) {
    if (std::find(known.begin(), known.end(), item.key()) != known.end()) continue;
    const std::span<const std::string_view> names(known.begin(), known.size());
    throw Error(
        ErrorCode::input,
        fmt::format("{}: {}{} is unknown{}", file_.string(), prefix_,
                    shown_json(nlohmann::json(item.key())), did_you_mean(item.key(), names)),
        fmt::format("leave it out; known there are {}", fmt::join(known, ", ")));
  }
}

bool JsonObject::has(const std::string& key) const { return !raw(key).is_null(); }

const nlohmann::json& JsonObject::raw(const std::string& key) const {
  static const nlohmann::json null;
  const auto found = value_.find(key);
  return found == value_.end() ? null : *found;
}

void JsonObject::fail(const std::string& key, const std::string& problem,
                      const std::string& remedy) const {
  throw Error(ErrorCode::input, fmt::format("{}: {}{} {}", file_.string(), prefix_, key, problem),
              remedy.empty() ? remedy_ : remedy);
}

void JsonObject::wrong_type(const std::string& key, const std::string& expected) const {
  fail(key, fmt::format("must be {}, found {}", expected, shown_json(raw(key))));
}

const nlohmann::json& JsonObject::required(const std::string& key, const char* type) const {
  const nlohmann::json& value = raw(key);
  if (value.is_null()) fail(key, fmt::format("is missing; it must be {}", type));
  return value;
}

std::int64_t JsonObject::integer(const std::string& key, std::int64_t smallest,
                                 std::int64_t largest) const {
  const nlohmann::json& value = required(key, "an integer");
  if (!is_integer_within(value, smallest, largest)) {
    wrong_type(key, fmt::format("an integer from {} to {}", smallest, largest));
  }
  return value.get<std::int64_t>();
}

std::int64_t JsonObject::whole_number(const std::string& key, std::int64_t smallest,
                                      std::int64_t largest) const {
  const nlohmann::json& value = required(key, "an integer");
  const bool whole =
      value.is_number_float() &&
      is_number_within(value, static_cast<double>(smallest), static_cast<double>(largest)) &&
      std::trunc(value.get<double>()) == value.get<double>();
  return whole ? static_cast<std::int64_t>(value.get<double>()) : integer(key, smallest, largest);
}

std::int64_t JsonObject::integer_or(const std::string& key, std::int64_t smallest,
                                    std::int64_t fallback) const {
  return has(key) ? integer(key, smallest) : fallback;
}

double JsonObject::number(const std::string& key, double above) const {
  const nlohmann::json& value = required(key, "a number");
  const auto expected = fmt::format("a number above {}", above);
  if (!value.is_number()) wrong_type(key, expected);
  const auto number = value.get<double>();
  if (!std::isfinite(number) || number <= above) wrong_type(key, expected);
  return number;
}

double JsonObject::number_or(const std::string& key, double above, double fallback) const {
  return has(key) ? number(key, above) : fallback;
}

double JsonObject::number_within(const std::string& key, double smallest, double largest) const {
  const nlohmann::json& value = required(key, "a number");
  if (!is_number_within(value, smallest, largest)) {
    wrong_type(key, fmt::format("a number from {} to {}", smallest, largest));
  }
  return value.get<double>();
}

bool JsonObject::boolean(const std::string& key) const {
  if (!required(key, "true or false").is_boolean()) wrong_type(key, "true or false");
  return raw(key).get<bool>();
}

bool JsonObject::boolean_or(const std::string& key, bool fallback) const {
  return has(key) ? boolean(key) : fallback;
}

std::string JsonObject::string(const std::string& key) const {
  const nlohmann::json& value = required(key, "a string");
  if (!value.is_string()) wrong_type(key, "a string");
  return value.get<std::string>();
}

std::string JsonObject::string_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? string(key) : fallback;
}

std::vector<std::string> JsonObject::strings(const std::string& key) const {
  const nlohmann::json& value = required(key, "a list of strings");
  if (!value.is_array()) wrong_type(key, "a list of strings");
  std::vector<std::string> result;
  for (const nlohmann::json& item : value) {
    if (!item.is_string()) wrong_type(key, "a list of strings");
    result.push_back(item.get<std::string>());
  }
  return result;
}

std::vector<int> JsonObject::integers(const std::string& key, std::int64_t smallest) const {
  const nlohmann::json& value = required(key, "a list of integers");
  const auto expected = fmt::format("a list of integers from {} to {}", smallest, kLargest);
  if (!value.is_array()) wrong_type(key, expected);
  std::vector<int> result;
  for (const nlohmann::json& item : value) {
    if (!is_integer_within(item, smallest, kLargest)) wrong_type(key, expected);
    result.push_back(item.get<int>());
  }
  return result;
}

std::vector<double> JsonObject::numbers(const std::string& key, double smallest,
                                        double largest) const {
  const nlohmann::json& value = required(key, "a list of numbers");
  const auto expected = fmt::format("a list of numbers from {} to {}", smallest, largest);
  if (!value.is_array()) wrong_type(key, expected);
  std::vector<double> result;
  for (const nlohmann::json& item : value) {
    if (!is_number_within(item, smallest, largest)) wrong_type(key, expected);
    result.push_back(item.get<double>());
  }
  return result;
}

std::vector<bool> JsonObject::booleans(const std::string& key) const {
  const nlohmann::json& value = required(key, "a list of true and false");
  if (!value.is_array()) wrong_type(key, "a list of true and false");
  std::vector<bool> result;
  for (const nlohmann::json& item : value) {
    if (!item.is_boolean()) wrong_type(key, "a list of true and false");
    result.push_back(item.get<bool>());
  }
  return result;
}

JsonObject JsonObject::object(const std::string& key) const {
  const nlohmann::json& value = required(key, "an object");
  if (!value.is_object()) wrong_type(key, "an object");
  return within(prefix_ + key + ".", value);
}

std::vector<JsonObject> JsonObject::objects(const std::string& key) const {
  const nlohmann::json& value = required(key, "a list of objects");
  if (!value.is_array()) wrong_type(key, "a list of objects");
  std::vector<JsonObject> result;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!value[i].is_object()) wrong_type(key, "a list of objects");
    result.push_back(within(fmt::format("{}{}[{}].", prefix_, key, i), value[i]));
  }
  return result;
}

std::vector<std::vector<JsonObject>> JsonObject::object_lists(const std::string& key) const {
  const nlohmann::json& value = required(key, "a list of lists of objects");
  if (!value.is_array()) wrong_type(key, "a list of lists of objects");
  std::vector<std::vector<JsonObject>> result;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string place = place_in(key, i);
    nlohmann::json entry = nlohmann::json::object();
    entry[place] = value[i];
    result.push_back(within(prefix_, std::move(entry)).objects(place));
  }
  return result;
}

}  // namespace spd
