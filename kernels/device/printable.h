// Text from outside, made fit for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace spd {

/// `text` with what would steer a terminal or is no text written as an escape: control characters
/// but line ends and tabs as \x1b, C1 controls and marks that turn the direction of writing as
/// \u202e, bytes that are not UTF-8 as \xff. All else stays as it is.
std::string printable(std::string_view text);

}  // namespace spd
