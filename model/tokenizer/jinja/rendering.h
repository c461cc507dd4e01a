// The state of one rendering: what it has used up, and how values that cost something are made.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/tokenizer/jinja/failure.h"
#include "model/tokenizer/jinja/level.h"
#include "model/tokenizer/jinja/template.h"
#include "model/tokenizer/jinja/value.h"

namespace spd::jinja {

class Namespace;

/// Counts what a template uses and fails beyond the options' bounds. Makes all values that take
/// memory, so that nothing grows unnoticed.
class Rendering {
 public:
  explicit Rendering(const RenderOptions& options) : options_(options) {}
  Rendering(const Rendering&) = delete;
  Rendering& operator=(const Rendering&) = delete;
  ~Rendering();

  void step(std::uint64_t count = 1) {
    if (count > options_.most_steps - steps_) too_much("steps");
    steps_ += count;
  }
  /// For work on so many bytes of text.
  void touch(std::size_t bytes) { step(1 + bytes / kBytesAStep); }
  /// Fails before a text of so many bytes is made.
  void check_size(std::uint64_t bytes);

  Value text(std::string bytes, bool markup = false);
  Value list(std::vector<Value> items) { return sequence(std::move(items), Sequence::Kind::list); }
  Value tuple(std::vector<Value> items) {
    return sequence(std::move(items), Sequence::Kind::tuple);
  }
  Value sequence(std::vector<Value> items, Sequence::Kind kind);
  Value dict(Dict dict);
  /// Namespaces may hold each other: they are emptied when the rendering ends.
  Value space(std::shared_ptr<Namespace> space);
  /// A lazy sequence that holds values nested `depth` deep.
  Value iterator(std::string type, Next next, unsigned depth);

  std::time_t now() const { return options_.now; }
  std::size_t most_output() const { return options_.most_output; }
  [[noreturn]] void too_much(const char* what) const;

  /// One level of recursion, be it of the template or of the values.
  Level level() { return {depth_, kMostDepth}; }

  static constexpr unsigned kMostNesting = 500;  ///< of values within values
  static constexpr unsigned kMostDepth = 2'500;  ///< of evaluations within evaluations
  static constexpr std::size_t kBytesAStep = 32;

 private:
  void check_depth(unsigned depth) const;

  RenderOptions options_;
  std::uint64_t steps_ = 0;
  unsigned depth_ = 0;
  std::vector<std::shared_ptr<Namespace>> spaces_;
};

}  // namespace spd::jinja
