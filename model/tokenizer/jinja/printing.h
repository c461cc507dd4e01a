// Values as text: Python's str(), repr() and json.dumps().
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// str(value): what `{{ value }}` prints.
std::string to_str(Rendering& rendering, const Value& value);
std::string to_repr(Rendering& rendering, const Value& value);
/// A string in Python's quotes. `ascii_only` escapes all else, as ascii() does.
std::string python_quoted(std::string_view text, bool ascii_only = false);

struct JsonStyle {
  bool ascii_only = false;
  std::optional<std::string> indent;  ///< of one level; nothing: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
/// json.dumps(value). Fails for what JSON has not.
std::string to_json(Rendering& rendering, const Value& value, const JsonStyle& style);

}  // namespace spd::jinja
