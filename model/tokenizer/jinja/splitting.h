// The splitting, replacing and filling of text, as str's methods and some filters do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// The parts between `separator` (not empty), at most `most` splits (-1: all). Views of `text`.
std::vector<std::string_view> split_at(Rendering& rendering, std::string_view text,
                                       std::string_view separator, std::int64_t most,
                                       bool from_end);
/// The words between runs of white space.
std::vector<std::string_view> split_at_space(Rendering& rendering, std::string_view text,
                                             std::int64_t most, bool from_end);
/// The lines, by Python's many line ends.
std::vector<std::string_view> split_lines(Rendering& rendering, std::string_view text,
                                          bool keep_ends);
/// The first `most` (-1: all) of `old` replaced.
std::string replace(Rendering& rendering, std::string_view text, std::string_view old,
                    std::string_view by, std::int64_t most);
/// `text` filled up to `width` characters on the given sides, as str.center and its like do.
std::string padded(Rendering& rendering, const Text& text, std::int64_t width,
                   std::string_view fill, bool left, bool right);

}  // namespace spd::jinja
