// Number and string literals, as Python writes them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

struct NumberLiteral {
  std::size_t size = 0;  ///< 0: there is none
  Value value;
};
NumberLiteral read_number(Rendering& rendering, std::string_view source, std::size_t at);

/// What stands between a string's quotes, with its escapes replaced.
std::string unescape(std::string_view text);

}  // namespace spd::jinja
