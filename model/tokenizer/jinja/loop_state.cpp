#include "model/tokenizer/jinja/loop_state.h"

#include <algorithm>

#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/objects.h"
#include "model/tokenizer/jinja/operators.h"

namespace spd::jinja {

LoopState::LoopState(Rendering& rendering, const Value& over, Recurse recurse, std::size_t depth)
    : over_(over),
      next_(jinja::iterate(rendering, over)),
      recurse_(std::move(recurse)),
      depth_(depth) {}

bool LoopState::peek() {
  if (after_) return true;
  Value item;
  if (!next_(item)) return false;
  after_ = std::move(item);
  return true;
}

bool LoopState::advance(Value& item) {
  if (!peek()) return false;
  item = std::move(*after_);
  after_.reset();
  ++index0_;
  before_ = std::move(current_);
  current_ = item;
  return true;
}

/// What has no length of its own is gone through to the end, and kept for the loop.
std::optional<std::size_t> LoopState::length(Rendering& rendering) const {
  if (length_) return length_;
  length_ = length_of(rendering, over_);
  if (length_) return length_;
  std::vector<Value> rest;
  for (Value item; next_(item);) {
    rendering.step();
    rest.push_back(item);
  }
  length_ = rest.size() + static_cast<std::size_t>(index0_ + 1) + (after_ ? 1 : 0);
  next_ = jinja::iterate(rendering, rendering.list(std::move(rest)));
  return length_;
}

std::string LoopState::repr(Rendering& rendering) const {
  return "<LoopContext " + std::to_string(index0_ + 1) + "/" + std::to_string(*length(rendering)) +
         ">";
}

Next LoopState::iterate(Rendering&) { fail("iterating over 'loop' is not supported"); }

Value LoopState::call(Rendering&, Arguments& arguments) {
  const Bound bound("loop", arguments, {"iterable"}, 1);
  if (!recurse_) {
    fail("The loop must have the 'recursive' marker to be called recursively.");
  }
  return recurse_(bound[0], depth_ + 1);
}

Value LoopState::cycle(Rendering& rendering) {
  auto self = std::static_pointer_cast<LoopState>(shared_from_this());
  rendering.step();
  return std::shared_ptr<Object>(
      std::make_shared<Function>("method", [self](Rendering&, Arguments& arguments) {
        if (!arguments.named.empty()) fail("cycle() takes no keyword arguments");
        const auto& values = arguments.positional;
        if (values.empty()) fail("no items for cycling given");
        const auto size = static_cast<std::int64_t>(values.size());
        return values[static_cast<std::size_t>(((self->index0_ % size) + size) % size)];
      }));
}

Value LoopState::changed(Rendering& rendering) {
  auto self = std::static_pointer_cast<LoopState>(shared_from_this());
  rendering.step();
  return std::shared_ptr<Object>(std::make_shared<Function>(
      "method", [self](Rendering& running, Arguments& arguments) -> Value {
        if (!arguments.named.empty()) fail("changed() takes no keyword arguments");
        const auto same = [&] {
          return self->last_changed_ &&
                 equal(running.tuple(*self->last_changed_), running.tuple(arguments.positional));
        };
        if (same()) return false;
        self->last_changed_ = arguments.positional;
        return true;
      }));
}

std::optional<Value> LoopState::attribute(Rendering& rendering, const std::string& name) {
  if (name == "index") return index0_ + 1;
  if (name == "index0") return index0_;
  if (name == "first") return index0_ == 0;
  if (name == "last") return !peek();
  if (name == "depth") return static_cast<std::int64_t>(depth_) + 1;
  if (name == "depth0") return static_cast<std::int64_t>(depth_);
  if (name == "previtem") return index0_ == 0 ? undefined("there is no previous item") : before_;
  if (name == "nextitem") return peek() ? *after_ : undefined("there is no next item");
  if (name == "cycle") return cycle(rendering);
  if (name == "changed") return changed(rendering);
  const bool from_end = name == "revindex" || name == "revindex0";
  if (!from_end && name != "length") return std::nullopt;
  const auto length = static_cast<std::int64_t>(*this->length(rendering));
  if (name == "length") return length;
  return name == "revindex" ? length - index0_ : length - index0_ - 1;
}

}  // namespace spd::jinja
