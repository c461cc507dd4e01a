// The variable `loop` within a for.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// Goes through a loop's items and answers `loop.index` and its like.
class LoopState : public Object {
 public:
  using Recurse = std::function<Value(const Value& over, std::size_t depth)>;
  /// `recurse` renders the loop for other items, where the loop is recursive.
  LoopState(Rendering& rendering, const Value& over, Recurse recurse, std::size_t depth);

  /// Goes on to the next item; false at the end.
  bool advance(Value& item);

  std::string type_name() const override { return "LoopContext"; }
  std::string repr(Rendering& rendering) const override;
  bool is_callable() const override { return true; }
  Value call(Rendering& rendering, Arguments& arguments) override;
  std::optional<Value> attribute(Rendering& rendering, const std::string& name) override;
  std::optional<std::size_t> length(Rendering& rendering) const override;
  Next iterate(Rendering& rendering) override;
  unsigned depth() const override { return depth_of(over_) + 1; }

 private:
  bool peek();
  Value cycle(Rendering& rendering);
  Value changed(Rendering& rendering);

  Value over_;
  mutable Next next_;
  Recurse recurse_;
  std::size_t depth_;
  std::int64_t index0_ = -1;
  mutable std::optional<std::size_t> length_;
  std::optional<Value> after_;  ///< looked at already
  Value current_;
  Value before_;
  std::optional<std::vector<Value>> last_changed_;
};

}  // namespace spd::jinja
