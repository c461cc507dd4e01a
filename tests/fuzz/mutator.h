// Changes inputs so that they stay of their kind: JSON stays JSON, headers fit their lengths.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tests/fuzz/target.h"

namespace spd::fuzz {

/// Changes one part of `input`: a value of its JSON (of one of its lines, of the header of a
/// safetensors file), or a word put in, taken out or doubled. The same for the same seed.
/// False where it is of none of these kinds.
bool mutate(const Target& target, std::string& input, std::uint32_t seed);

/// A few bytes changed, without regard to what they are.
void mutate_bytes(std::string& input, std::uint32_t seed);

}  // namespace spd::fuzz
