#include "model/tokenizer/jinja/rendering.h"

#include <algorithm>

#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/objects.h"

namespace spd::jinja {

Rendering::~Rendering() {
  for (const auto& space : spaces_) space->clear();
}

void Rendering::too_much(const char* what) const {
  throw Failure{std::string("the template takes more ") + what + " than a template may", {}, true};
}

void Rendering::check_size(std::uint64_t bytes) {
  if (bytes > options_.most_output) too_much("memory for a text");
}

void Rendering::check_depth(unsigned depth) const {
  if (depth > kMostNesting) too_much("levels of values within values");
}

Value Rendering::text(std::string bytes, bool markup) {
  check_size(bytes.size());
  touch(bytes.size());
  const std::size_t length = code_points(bytes);
  return std::make_shared<const Text>(Text{std::move(bytes), length, markup});
}

Value Rendering::sequence(std::vector<Value> items, Sequence::Kind kind) {
  step(1 + 2 * items.size());
  unsigned depth = 0;
  for (const Value& item : items) depth = std::max(depth, depth_of(item));
  check_depth(depth + 1);
  return std::make_shared<const Sequence>(Sequence{std::move(items), kind, depth + 1});
}

Value Rendering::dict(Dict dict) {
  step(1 + 8 * dict.items.size());
  unsigned depth = 0;
  for (const auto& [key, value] : dict.items) {
    depth = std::max({depth, depth_of(key), depth_of(value)});
  }
  check_depth(depth + 1);
  dict.depth = depth + 1;
  return std::make_shared<const Dict>(std::move(dict));
}

Value Rendering::space(std::shared_ptr<Namespace> space) {
  step(16);
  spaces_.push_back(space);
  return std::shared_ptr<Object>(std::move(space));
}

Value Rendering::iterator(std::string type, Next next, unsigned depth) {
  step(8);
  check_depth(depth + 1);
  return std::shared_ptr<Object>(
      std::make_shared<Iterator>(std::move(type), std::move(next), depth + 1));
}

}  // namespace spd::jinja
