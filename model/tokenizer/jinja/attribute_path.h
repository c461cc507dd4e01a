// The attributes that filters such as map, sort and groupby are told by name.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "model/tokenizer/jinja/engine.h"

namespace spd::jinja {

/// A path such as "function.name" or "0.key"; none is the item itself.
class AttributePath {
 public:
  AttributePath() = default;
  AttributePath(Engine& engine, const Value& path);
  AttributePath(Engine& engine, std::string_view path) { add(engine, path); }

  /// What the path leads to; `otherwise`, where given, in the place of anything undefined.
  Value operator()(Engine& engine, const Value& item,
                   const std::optional<Value>& otherwise = std::nullopt) const;

 private:
  void add(Engine& engine, std::string_view path);
  std::vector<Value> parts_;
};

/// Text in lower case, all else as it is.
Value ignore_case(Engine& engine, const Value& value);

}  // namespace spd::jinja
