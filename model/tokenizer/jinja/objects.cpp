#include "model/tokenizer/jinja/objects.h"

#include <algorithm>

#include "model/tokenizer/jinja/printing.h"
#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {
namespace {

std::size_t range_length(std::int64_t start, std::int64_t stop, std::int64_t step) {
  if (step == 0) fail("range() arg 3 must not be zero");
  if (step > 0 ? start >= stop : start <= stop) return 0;
  const auto distance = step > 0
                            ? static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start)
                            : static_cast<std::uint64_t>(start) - static_cast<std::uint64_t>(stop);
  const auto stride =
      step > 0 ? static_cast<std::uint64_t>(step) : -static_cast<std::uint64_t>(step);
  return (distance - 1) / stride + 1;
}

}  // namespace

Range::Range(std::int64_t start, std::int64_t stop, std::int64_t step)
    : start_(start), stop_(stop), step_(step), count_(range_length(start, stop, step)) {}

std::string Range::repr(Rendering&) const {
  const std::string bounds = std::to_string(start_) + ", " + std::to_string(stop_);
  return "range(" + bounds + (step_ == 1 ? "" : ", " + std::to_string(step_)) + ")";
}

std::optional<Value> Range::attribute(Rendering&, const std::string& name) {
  if (name == "start") return start_;
  if (name == "stop") return stop_;
  if (name == "step") return step_;
  if (name == "count" || name == "index") fail("range." + name + "() is not supported");
  return std::nullopt;
}

std::optional<Value> Range::item(Rendering&, const Value& key) {
  const auto index = key.integer();
  if (!index) return std::nullopt;
  const auto size = static_cast<std::int64_t>(count_);
  const std::int64_t at = *index < 0 ? *index + size : *index;
  if (at < 0 || at >= size) return std::nullopt;
  return this->at(static_cast<std::size_t>(at));
}

Next Range::iterate(Rendering& rendering) {
  auto self = std::static_pointer_cast<Range>(shared_from_this());
  return [&rendering, self, at = std::size_t{0}](Value& item) mutable {
    if (at >= self->count_) return false;
    rendering.step();
    item = self->at(at++);
    return true;
  };
}

bool Range::contains(std::int64_t value) const {
  return count_ != 0 && (value - start_) % step_ == 0 && (value - start_) / step_ >= 0 &&
         static_cast<std::size_t>((value - start_) / step_) < count_;
}

bool Range::equals(const Range& other) const {
  return count_ == other.count_ &&
         (count_ == 0 || (start_ == other.start_ && (count_ == 1 || step_ == other.step_)));
}

Next Iterator::iterate(Rendering& rendering) {
  auto self = std::static_pointer_cast<Iterator>(shared_from_this());
  return [&rendering, self](Value& item) {
    const Level one_more = rendering.level();
    rendering.step();
    return self->next_ && self->next_(item);
  };
}

std::string View::type_name() const {
  return part_ == Part::keys ? "dict_keys" : part_ == Part::values ? "dict_values" : "dict_items";
}

std::string View::repr(Rendering& rendering) const {
  std::vector<Value> items;
  for (const auto& [key, value] : dict_->items) {
    items.push_back(part_ == Part::keys     ? key
                    : part_ == Part::values ? value
                                            : rendering.tuple({key, value}));
  }
  return type_name() + "(" + to_repr(rendering, rendering.list(std::move(items))) + ")";
}

Next View::iterate(Rendering& rendering) {
  return [&rendering, dict = dict_, part = part_, at = std::size_t{0}](Value& item) mutable {
    if (at >= dict->items.size()) return false;
    rendering.step();
    const auto& [key, value] = dict->items[at++];
    item = part == Part::keys ? key : part == Part::values ? value : rendering.tuple({key, value});
    return true;
  };
}

std::string Namespace::repr(Rendering& rendering) const {
  std::string text = "<Namespace {";
  const char* separator = "";
  const Level one_more = rendering.level();
  for (const auto& [key, value] : attributes_.items) {
    text += separator + to_repr(rendering, key) + ": " + to_repr(rendering, value);
    separator = ", ";
    rendering.check_size(text.size());
  }
  return text + "}>";
}

std::optional<Value> Namespace::attribute(Rendering&, const std::string& name) {
  const Value* value = attributes_.find(name);
  return value == nullptr ? std::nullopt : std::optional<Value>(*value);
}

void Namespace::set(Rendering& rendering, const std::string& name, Value value) {
  if (!name.empty() && name[0] == '_') {
    fail("a namespace has no attributes that start with an underscore: '" + name + "'");
  }
  attributes_.set(rendering.text(name), std::move(value));
}

}  // namespace spd::jinja
