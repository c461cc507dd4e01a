// The memory layout of a Weight, the same in both CPU implementations.
#pragma once

#include "kernels/operators.h"

namespace spd {

/// Rows padded with zeros to a multiple of 32 elements, so that every row starts a cache line and
/// ends with a whole vector.
Weight make_cpu_weight(Device& device, DType dtype, std::int64_t rows, std::int64_t cols);
/// See Operators::fill_rows; arguments already checked.
void fill_cpu_rows(Weight& weight, std::int64_t first, const void* host, std::int64_t count,
                   std::int64_t host_stride);

}  // namespace spd
