// The part of a row that a block takes, where several share one (row_parts() in logits.h).
#pragma once

#include "kernels/cuda/language.cuh"

namespace spd::cuda {

/// Columns [begin, end) of block x of gridDim.x.
struct RowPart {
  int begin, end;
  __device__ explicit RowPart(int cols) {
    const int each = (cols + static_cast<int>(gridDim.x) - 1) / static_cast<int>(gridDim.x);
    begin = static_cast<int>(blockIdx.x) * each;
    end = min(begin + each, cols);
  }
};

}  // namespace spd::cuda
