// The arguments of a call, matched with a function's parameters.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// Matches a call's arguments with parameters as Python does, and reads them as what they should
/// be.
class Bound {
 public:
  /// Fails for too many arguments, unknown names, and values given twice. The first `required`
  /// parameters must be given. Names of parameters that can only be given by place start with '/'.
  Bound(std::string_view function, const Arguments& arguments,
        std::initializer_list<std::string_view> parameters, std::size_t required = 0);

  bool has(std::size_t at) const { return values_[at].has_value(); }
  const Value& operator[](std::size_t at) const { return *values_[at]; }
  Value get(std::size_t at, const Value& otherwise) const {
    return has(at) ? *values_[at] : otherwise;
  }
  /// Given, and not none.
  bool has_some(std::size_t at) const { return has(at) && !values_[at]->is_none(); }
  /// Python's index: an integer or boolean; fails for anything else.
  std::int64_t integer(std::size_t at, std::int64_t otherwise) const;
  bool truth(Rendering& rendering, std::size_t at, bool otherwise) const;
  /// Fails for what is no string.
  const Text& text(std::size_t at) const;

 private:
  std::string function_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace spd::jinja
