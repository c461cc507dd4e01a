// A JSON object read from a file, whose fields are checked as they are taken out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/device/error.h"
#include "model/json_text.h"

namespace spd {

/// Every accessor throws input Error naming the file, the key (with the keys above it) and what was
/// found, where a field is missing or of another type. The ..._or forms give the fallback where the
/// key is missing or null. Integers must be JSON integers: 64.0, 2.9, 1e308 and "64" are refused.
class JsonObject {
 public:
  static constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();
  /// Deeper than any file we read; bounds what a hostile file can make the parser hold.
  static constexpr int kMaxDepth = 32;

  /// Reads a file that holds one object (see read_file and parse_json for what is refused).
  static JsonObject load(const std::filesystem::path& file, int max_depth = kMaxDepth);
  /// The same of a text at hand; `where` (a file, or a file and a line) begins every message.
  static JsonObject parse(std::string_view text, const std::filesystem::path& where,
                          int max_depth = kMaxDepth);
  /// The same of a value at hand.
  static JsonObject of(nlohmann::json value, const std::filesystem::path& where);
  /// The same object, whose messages (and those of what is in it) close with this remedy unless
  /// they have one of their own. Without: "mend the file, or replace it by an undamaged copy".
  JsonObject advising(std::string remedy) &&;

  /// Throws unless "schema" is `wanted`; says what it is and which version wrote the file. To be
  /// called before anything else is taken out.
  void check_schema(const std::string& wanted, const std::string& remedy) const;

  /// Throws where a key is not among `known`, with the nearest one. For files of our own: what is
  /// misspelt there would be taken for left out.
  void check_keys(std::initializer_list<std::string_view> known) const;

  /// Whether the key is there, null included.
  bool contains(const std::string& key) const { return value_.contains(key); }
  /// Whether the key is there with something other than null.
  bool has(const std::string& key) const;

  /// In [smallest, largest].
  std::int64_t integer(const std::string& key, std::int64_t smallest,
                       std::int64_t largest = kLargest) const;
  std::int64_t integer_or(const std::string& key, std::int64_t smallest,
                          std::int64_t fallback) const;
  /// The same where 4096.0 does as well as 4096; 4096.5 is refused.
  std::int64_t whole_number(const std::string& key, std::int64_t smallest,
                            std::int64_t largest = kLargest) const;
  /// Finite and above `above`.
  double number(const std::string& key, double above) const;
  double number_or(const std::string& key, double above, double fallback) const;
  /// Finite and in [smallest, largest].
  double number_within(const std::string& key, double smallest, double largest) const;
  bool boolean(const std::string& key) const;
  bool boolean_or(const std::string& key, bool fallback) const;
  std::string string(const std::string& key) const;
  std::string string_or(const std::string& key, const std::string& fallback) const;
  std::vector<std::string> strings(const std::string& key) const;
  /// A list of integers in [smallest, kLargest].
  std::vector<int> integers(const std::string& key, std::int64_t smallest) const;
  /// A list of finite numbers in [smallest, largest].
  std::vector<double> numbers(const std::string& key, double smallest, double largest) const;
  std::vector<bool> booleans(const std::string& key) const;
  JsonObject object(const std::string& key) const;
  /// A list of objects; errors inside name the key and the place, "key[2].".
  std::vector<JsonObject> objects(const std::string& key) const;
  /// A list of lists of objects, "key[2][0].".
  std::vector<std::vector<JsonObject>> object_lists(const std::string& key) const;

  /// `parse` of the string under the key. Its errors know not where the text came from: they are
  /// thrown again with file and key.
  template <class Parse>
  auto parsed(const std::string& key, Parse parse) const {
    const std::string text = string(key);
    try {
      return parse(text);
    } catch (const Error& error) {
      fail(key, "is not understood: " + error.message(), error.remedy());
    }
  }
  /// The same for a list of strings.
  template <class Parse>
  auto parsed_list(const std::string& key, Parse parse) const {
    std::vector<decltype(parse(std::string()))> result;
    for (const std::string& text : strings(key)) {
      try {
        result.push_back(parse(text));
      } catch (const Error& error) {
        fail(place_in(key, result.size()), "is not understood: " + error.message(), error.remedy());
      }
    }
    return result;
  }

  /// The field itself (null where missing), for what has more than one form.
  const nlohmann::json& raw(const std::string& key) const;
  const nlohmann::json& value() const { return value_; }
  const std::filesystem::path& file() const { return file_; }

  /// Throws input Error "FILE: KEY problem", with the object's remedy where none is given.
  [[noreturn]] void fail(const std::string& key, const std::string& problem,
                         const std::string& remedy = "") const;

 private:
  JsonObject(std::filesystem::path file, std::string prefix, nlohmann::json value,
             std::string remedy)
      : file_(std::move(file)),
        prefix_(std::move(prefix)),
        value_(std::move(value)),
        remedy_(std::move(remedy)) {}
  /// What lies within this object, at `prefix`.
  JsonObject within(std::string prefix, nlohmann::json value) const {
    return {file_, std::move(prefix), std::move(value), remedy_};
  }
  static std::string place_in(const std::string& key, std::size_t place) {
    return key + "[" + std::to_string(place) + "]";
  }
  const nlohmann::json& required(const std::string& key, const char* type) const;
  [[noreturn]] void wrong_type(const std::string& key, const std::string& expected) const;

  std::filesystem::path file_;
  std::string prefix_;  // keys above this object, each followed by a dot
  nlohmann::json value_;
  std::string remedy_;
};

}  // namespace spd
