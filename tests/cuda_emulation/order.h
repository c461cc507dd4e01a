// The order in which threads and blocks go on, as Options ask.
#pragma once

#include <cstdint>

namespace cuda_emulation {

/// One of the set bits; there is one.
int pick_bit(std::uint32_t bits);
/// The block that starts after `started` others of `total`.
std::uint32_t pick_block(std::uint32_t started, std::uint32_t total);
/// A number below `count`.
std::uint32_t random_below(std::uint32_t count);
/// Begins the sequence anew.
void seed_order(unsigned seed);

}  // namespace cuda_emulation
