// The tokens of a template, with the white space that tags take already taken.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

struct Token {
  enum class Kind {
    data,
    block_begin,
    block_end,
    variable_begin,
    variable_end,
    name,
    string,
    number,
    sign,  ///< an operator or a bracket
    end,
  };
  Kind kind;
  std::string text;  ///< the string's meaning, the name, the sign
  Value number;
  Place place;

  bool is(Kind wanted, std::string_view what) const { return kind == wanted && text == what; }
};

/// The last token is `end`. Throws Failure with its place.
std::vector<Token> tokenize(Rendering& rendering, std::string_view source);

}  // namespace spd::jinja
