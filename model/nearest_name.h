// The name that was probably meant by one that is not known.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace spd {

/// ` (did you mean "messages"?)`, or nothing where none of `known` is close: within two letters
/// that are wrong, missing or too many.
std::string did_you_mean(std::string_view name, std::span<const std::string_view> known);

}  // namespace spd
