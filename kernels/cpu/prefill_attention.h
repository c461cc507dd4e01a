// Attention of many tokens at once, by matrix products.
#pragma once

#include <cstdint>

#include "kernels/cpu/scratch.h"
#include "kernels/operators.h"

namespace spd {

/// Segments at least this long are worth it; shorter ones go token by token.
inline constexpr std::int64_t kPrefillFrom = 16;
/// Query rows that share one matrix of scores.
inline constexpr std::int64_t kQueryBlock = 64;

/// Rows [first, first + count) of `segment`, count <= kQueryBlock, for one query head: scores
/// against every visible position, soft-max, values. Causal and windowed as Operators::attention.
void attend_block(const AttentionArgs& args, const Segment& segment, std::int64_t head,
                  std::int64_t first, std::int64_t count, Scratch& scratch);

}  // namespace spd
