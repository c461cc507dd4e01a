// Objects of templates that are no plain data: ranges, iterators, views, functions, namespaces.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/tokenizer/jinja/value.h"

namespace spd::jinja {

/// Python's range.
class Range : public Object {
 public:
  Range(std::int64_t start, std::int64_t stop, std::int64_t step);
  std::string type_name() const override { return "range"; }
  std::string repr(Rendering& rendering) const override;
  std::optional<Value> attribute(Rendering& rendering, const std::string& name) override;
  std::optional<Value> item(Rendering& rendering, const Value& key) override;
  Next iterate(Rendering& rendering) override;
  std::optional<std::size_t> length(Rendering&) const override { return count_; }
  std::int64_t at(std::size_t index) const {
    return start_ + static_cast<std::int64_t>(index) * step_;
  }
  std::int64_t step_by() const { return step_; }
  bool contains(std::int64_t value) const;
  bool equals(const Range& other) const;

 private:
  std::int64_t start_, stop_, step_;
  std::size_t count_ = 0;
};

/// A generator or another iterator of Python's: gives its items once.
class Iterator : public Object {
 public:
  Iterator(std::string type, Next next, unsigned depth)
      : type_(std::move(type)), next_(std::move(next)), depth_(depth) {}
  std::string type_name() const override { return type_; }
  Next iterate(Rendering& rendering) override;
  unsigned depth() const override { return depth_; }

 private:
  std::string type_;
  Next next_;
  unsigned depth_;
};

/// keys(), values() or items() of a dict.
class View : public Object {
 public:
  enum class Part { keys, values, items };
  View(std::shared_ptr<const Dict> dict, Part part) : dict_(std::move(dict)), part_(part) {}
  std::string type_name() const override;
  std::string repr(Rendering& rendering) const override;
  Next iterate(Rendering& rendering) override;
  std::optional<std::size_t> length(Rendering&) const override { return dict_->items.size(); }
  unsigned depth() const override { return dict_->depth + 1; }
  Part part() const { return part_; }
  const Dict& dict() const { return *dict_; }

 private:
  std::shared_ptr<const Dict> dict_;
  Part part_;
};

/// `namespace(...)`: what `{% set space.name = value %}` assigns to.
class Namespace : public Object {
 public:
  explicit Namespace(Dict attributes) : attributes_(std::move(attributes)) {}
  std::string type_name() const override { return "TemplateNamespace"; }
  std::string repr(Rendering& rendering) const override;
  std::optional<Value> attribute(Rendering& rendering, const std::string& name) override;
  void set(Rendering& rendering, const std::string& name, Value value);
  void clear() { attributes_ = {}; }

 private:
  Dict attributes_;
};

/// A function or a method of the interpreter's own.
class Function : public Object {
 public:
  using Body = std::function<Value(Rendering&, Arguments&)>;
  Function(std::string type, Body body, unsigned depth = 1)
      : type_(std::move(type)), body_(std::move(body)), depth_(depth) {}
  std::string type_name() const override { return type_; }
  bool is_callable() const override { return true; }
  Value call(Rendering& rendering, Arguments& arguments) override {
    return body_(rendering, arguments);
  }
  unsigned depth() const override { return depth_; }

 private:
  std::string type_;
  Body body_;
  unsigned depth_;
};

/// A range's length is bounded as Jinja's sandbox bounds it.
constexpr std::size_t kMostRange = 100'000;

/// The global functions of a template: range, dict, namespace, cycler, joiner, raise_exception,
/// strftime_now; nullopt for other names.
std::optional<Value> global(Rendering& rendering, const std::string& name);

}  // namespace spd::jinja
