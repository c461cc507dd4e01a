// Methods of strings, lists, tuples and dicts.
#pragma once

#include <string>
#include <string_view>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// Takes the object that the method is of; nullptr where there is no such method here.
using Method = Value (*)(Rendering&, const Value& self, const Arguments&);
Method text_method(std::string_view name);
Method sequence_method(std::string_view name);
Method dict_method(std::string_view name);

/// What Python's type of the value has besides, but a template may not use (it would change the
/// value) or cannot use here.
enum class Foreign { none, changes, unsupported };
Foreign foreign_attribute(const Value& value, std::string_view name);

}  // namespace spd::jinja
