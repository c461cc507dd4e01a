// `text % values` and `text.format(values)`.
#pragma once

#include <string>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// Python's printf-style formatting; `text` is a string, `values` a tuple, a dict or a lone value.
Value percent_format(Rendering& rendering, const Value& text, const Value& values);
/// str.format.
Value str_format(Rendering& rendering, const Value& text, const Arguments& arguments);

/// A number's digits by a printf-style conversion, before it is filled up to a width.
struct NumberStyle {
  char conversion = 'd';   ///< d x X o b for integers, e E f F g G for floats
  bool alternate = false;  ///< '#': the base's prefix, a point always
  int precision = -1;
};
/// The magnitude alone: its sign is the caller's to write.
std::string real_digits(Rendering& rendering, double magnitude, const NumberStyle& style);
std::string integer_digits(Rendering& rendering, const Value& magnitude, const NumberStyle& style);

}  // namespace spd::jinja
