// The attributes that filters such as map, sort and groupby are told by name.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// A path such as "function.name" or "0.key"; none is the item itself.
class AttributePath {
 public:
  AttributePath() = default;
  AttributePath(Rendering& rendering, const Value& path);
  AttributePath(Rendering& rendering, std::string_view path) { add(rendering, path); }

  /// What the path leads to; `otherwise`, where given, in the place of anything undefined.
  Value operator()(Rendering& rendering, const Value& item,
                   const std::optional<Value>& otherwise = std::nullopt) const;

 private:
  void add(Rendering& rendering, std::string_view path);
  std::vector<Value> parts_;
};

/// Text in lower case, all else as it is.
Value ignore_case(Rendering& rendering, const Value& value);

}  // namespace spd::jinja
