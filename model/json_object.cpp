#include "model/json_object.h"

#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "kernels/device/error.h"

namespace spd {
namespace {

// Deeper than any file we read; bounds what a hostile file can make the parser hold.
constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxShown = 60;

std::string shown(const nlohmann::json& value) {
  std::string text =
      value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

constexpr const char* kReplace = "mend the file, or replace it by an undamaged copy";
}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& where, int max_depth) {
  if (text.find('\0') != std::string_view::npos) {
    // The library takes it for the end of the text and would pass over what follows.
    throw Error(ErrorCode::input, fmt::format("{}: not valid JSON: it has a zero byte", where),
                kReplace);
  }
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto check = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) && depth >= max_depth) {
      throw Error(ErrorCode::input, fmt::format("{}: nested deeper than {}", where, max_depth),
                  kReplace);
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw Error(ErrorCode::input, fmt::format("{}: key {} comes twice", where, shown(parsed)),
                  kReplace);
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text.begin(), text.end(), check);
  } catch (const nlohmann::json::exception& error) {
    // The library's message holds a piece of the text, which need not be valid UTF-8.
    throw Error(ErrorCode::input,
                fmt::format("{}: not valid JSON: {}", where, shown(nlohmann::json(error.what()))),
                kReplace);
  }
}

JsonObject JsonObject::load(const std::filesystem::path& file) {
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  if (!in || !text) {
    throw Error(ErrorCode::input,
                fmt::format("{}: cannot be read: {}", file.string(),
                            errno != 0 ? std::strerror(errno) : "empty or not a file"),
                "check that the file is there and may be read");
  }
  nlohmann::json value = parse_json(text.str(), file.string(), kMaxDepth);
  if (!value.is_object()) {
    throw Error(ErrorCode::input,
                fmt::format("{}: must hold a JSON object, found {}", file.string(), shown(value)),
                kReplace);
  }
  return JsonObject(file, "", std::move(value));
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
              remedy);
}

void JsonObject::wrong_type(const std::string& key, const std::string& expected) const {
  fail(key, fmt::format("must be {}, found {}", expected, shown(raw(key))));
}

const nlohmann::json& JsonObject::required(const std::string& key, const char* type) const {
  const nlohmann::json& value = raw(key);
  if (value.is_null()) fail(key, fmt::format("is missing; it must be {}", type));
  return value;
}

std::int64_t JsonObject::integer(const std::string& key, std::int64_t smallest) const {
  const nlohmann::json& value = required(key, "an integer");
  const auto expected = fmt::format("an integer from {} to {}", smallest, kLargest);
  if (!value.is_number_integer()) wrong_type(key, expected);
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{kLargest}) {
    wrong_type(key, expected);
  }
  const auto number = value.get<std::int64_t>();
  if (number < smallest) wrong_type(key, expected);
  return number;
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

bool JsonObject::boolean_or(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  if (!raw(key).is_boolean()) wrong_type(key, "true or false");
  return raw(key).get<bool>();
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
    if (!item.is_number_integer() || item < smallest || item > kLargest) wrong_type(key, expected);
    result.push_back(item.get<int>());
  }
  return result;
}

JsonObject JsonObject::object(const std::string& key) const {
  const nlohmann::json& value = required(key, "an object");
  if (!value.is_object()) wrong_type(key, "an object");
  return JsonObject(file_, prefix_ + key + ".", value);
}

std::vector<JsonObject> JsonObject::objects(const std::string& key) const {
  const nlohmann::json& value = required(key, "a list of objects");
  if (!value.is_array()) wrong_type(key, "a list of objects");
  std::vector<JsonObject> result;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!value[i].is_object()) wrong_type(key, "a list of objects");
    result.push_back(JsonObject(file_, fmt::format("{}{}[{}].", prefix_, key, i), value[i]));
  }
  return result;
}

}  // namespace spd
