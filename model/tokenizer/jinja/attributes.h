// Attributes and items: what `a.b`, `a[b]` and `a[b:c]` are, by the rules of Jinja's immutable
// sandbox.
#pragma once

#include <optional>
#include <string>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// `object.name`: the attribute (a method, say), or else the item of that name; undefined where
/// there is neither, or where the sandbox forbids it. Fails for an attribute of an undefined value.
Value attribute_of(Rendering& rendering, const Value& object, const std::string& name);
/// `object[key]`: the item, or else the attribute of that name.
Value item_of(Rendering& rendering, const Value& object, const Value& key);
/// The attribute alone; nullopt where there is none.
std::optional<Value> own_attribute(Rendering& rendering, const Value& object,
                                   const std::string& name);
/// `object[start:stop:step]`; each may be none.
Value slice_of(Rendering& rendering, const Value& object, const Value& start, const Value& stop,
               const Value& step);

}  // namespace spd::jinja
