// One component of tokenizer.json, which knows where it stands in the file.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace spd {

/// A view of a JSON object. Every accessor throws input Error naming the file, the path of keys and
/// what is wrong. The JSON document must outlive it.
class JsonComponent {
 public:
  /// `file` is how messages name the file.
  JsonComponent(std::string file, const nlohmann::json& root);

  /// Whether the key is there with something other than null.
  bool has(const std::string& key) const;
  std::string string(const std::string& key) const;
  std::string string_or(const std::string& key, const std::string& fallback) const;
  bool boolean_or(const std::string& key, bool fallback) const;
  std::int64_t integer(const std::string& key) const;
  JsonComponent object(const std::string& key) const;
  std::vector<JsonComponent> objects(const std::string& key) const;
  /// `value`, which lies within this component at `path`; it must be an object.
  JsonComponent child(const std::string& path, const nlohmann::json& value) const;
  const nlohmann::json& value() const { return *value_; }
  /// The field "type", or "" where there is none.
  std::string type() const { return string_or("type", ""); }

  /// Throws "FILE: PATH: problem". Without a remedy of its own: to mend the file, or fetch it
  /// again.
  [[noreturn]] void fail(const std::string& problem, const std::string& remedy = "") const;
  /// The same for a kind of component that this program does not know.
  [[noreturn]] void not_supported(const std::string& what) const;

 private:
  JsonComponent(std::string file, std::string path, const nlohmann::json& value, int depth);
  const nlohmann::json& at(const std::string& key) const;

  std::string file_;
  std::string path_;
  const nlohmann::json* value_;
  int depth_;
};

}  // namespace spd
