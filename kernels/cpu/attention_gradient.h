// The gradient of attention, a block of queries at a time, the probabilities computed again.
#pragma once

#include <cstdint>

#include "kernels/cpu/scratch.h"
#include "kernels/gradients.h"

namespace spd {

/// Gradients of one segment by one KV head and all query heads that read it. Arguments checked.
/// `factors`: of products, f32, or bf16 where the processor multiplies it. Scores stay f32 even so:
/// exponentials would multiply their errors, and they are to be what they were going forward.
void attention_gradient(const AttentionGradientArgs& args, const Segment& segment,
                        std::int64_t kv_head, DType factors, Scratch& scratch);

}  // namespace spd
