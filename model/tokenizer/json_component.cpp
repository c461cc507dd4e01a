#include "model/tokenizer/json_component.h"

#include <fmt/format.h>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "model/tokenizer/file_kind.h"

namespace spd {
namespace {
// Components nest a level or two; a file that nests them without end must not exhaust the stack.
constexpr int kMaxDepth = 32;
constexpr const char* kOtherTokenizer =
    "use a model whose tokenizer is byte-level or SentencePiece-style BPE";
}  // namespace

JsonComponent::JsonComponent(std::string file, const nlohmann::json& root)
    : JsonComponent(std::move(file), "", root, 0) {}

JsonComponent::JsonComponent(std::string file, std::string path, const nlohmann::json& value,
                             int depth)
    : file_(std::move(file)), path_(std::move(path)), value_(&value), depth_(depth) {
  if (!value_->is_object()) fail("should be an object");
  if (depth_ > kMaxDepth) fail("is nested too deeply");
}

bool JsonComponent::has(const std::string& key) const {
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

const nlohmann::json& JsonComponent::at(const std::string& key) const {
  const auto found = value_->find(key);
  if (found == value_->end()) fail(fmt::format("\"{}\" is missing", key));
  return *found;
}

std::string JsonComponent::string(const std::string& key) const {
  const nlohmann::json& field = at(key);
  if (!field.is_string()) fail(fmt::format("\"{}\" should be a string", key));
  return field.get<std::string>();
}

std::string JsonComponent::string_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? string(key) : fallback;
}

bool JsonComponent::boolean_or(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  const nlohmann::json& field = at(key);
  if (!field.is_boolean()) fail(fmt::format("\"{}\" should be true or false", key));
  return field.get<bool>();
}

std::int64_t JsonComponent::integer(const std::string& key) const {
  const nlohmann::json& field = at(key);
  if (!field.is_number_integer()) fail(fmt::format("\"{}\" should be an integer", key));
  return field.get<std::int64_t>();
}

JsonComponent JsonComponent::object(const std::string& key) const { return child(key, at(key)); }

JsonComponent JsonComponent::child(const std::string& path, const nlohmann::json& value) const {
  return {file_, path_.empty() ? path : path_ + "." + path, value, depth_ + 1};
}

std::vector<JsonComponent> JsonComponent::objects(const std::string& key) const {
  const nlohmann::json& field = at(key);
  if (!field.is_array()) fail(fmt::format("\"{}\" should be a list", key));
  std::vector<JsonComponent> components;
  components.reserve(field.size());
  for (std::size_t i = 0; i < field.size(); ++i) {
    const std::string name = fmt::format("{}{}{}[{}]", path_, path_.empty() ? "" : ".", key, i);
    components.push_back({file_, name, field[i], depth_ + 1});
  }
  return components;
}

void JsonComponent::fail(const std::string& problem, const std::string& remedy) const {
  throw Error(ErrorCode::input,
              fmt::format("{}: {}{}", file_, path_.empty() ? "" : printable(path_) + ": ",
                          printable(problem)),
              remedy.empty() ? "mend the file, or fetch it again" : remedy);
}

void JsonComponent::not_supported(const std::string& what) const {
  fail(fmt::format("{} {} is not supported", what, quoted_text(type())), kOtherTokenizer);
}

}  // namespace spd
