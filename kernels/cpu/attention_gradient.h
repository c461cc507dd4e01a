// Back through attention, a block of queries at a time, the probabilities computed again.
#pragma once

#include <cstdint>

#include "kernels/cpu/scratch.h"
#include "kernels/gradients.h"

namespace spd {

/// Gradients of one segment by one KV head and all query heads that read it. Arguments checked.
void attention_gradient(const AttentionGradientArgs& args, const Segment& segment,
                        std::int64_t kv_head, Scratch& scratch);

}  // namespace spd
