// Python's operators on values, and what iterates over them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// `sign`: one of + - * / // % **.
Value arithmetic(Rendering& rendering, std::string_view sign, const Value& left,
                 const Value& right);
/// `sign`: + or -.
Value signed_value(std::string_view sign, const Value& value);

/// A new pass over the value's items; fails where Python's iter() would.
Next iterate(Rendering& rendering, const Value& value);
/// The same; an empty function where Python's iter() would fail.
Next try_iterate(Rendering& rendering, const Value& value);
std::vector<Value> items_of(Rendering& rendering, const Value& value);
/// len(value); nullopt where it has none.
std::optional<std::size_t> length_of(Rendering& rendering, const Value& value);
/// The HTML escape of markupsafe.
std::string escape_html(std::string_view text);
/// The text of a value that joins a Markup: escaped, but for what is one itself.
std::string escaped_for_markup(Rendering& rendering, const Value& value);

}  // namespace spd::jinja
