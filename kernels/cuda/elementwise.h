// What is done element by element: sums, copies, fills, conversions, the end of a matrix product.
#pragma once

#include "kernels/cuda/queue.h"
#include "kernels/cuda/rows.h"

namespace spd::cuda {

struct Extent {
  std::int64_t rows = 0, cols = 0;
};

/// out = a (+ b) (+ bias); b and bias may be null.
void sum_rows(Rows<const float> a, Rows<const float> b, const float* bias, Rows<float> out,
              Extent extent, const Queue& queue);
void fill_rows(Rows<float> out, float value, Extent extent, const Queue& queue);
/// out[t] = table[ids[t]] as f32. A null `ids`: table[t].
void gather_rows(const void* table, DType type, const std::int32_t* ids, Rows<float> out,
                 Extent extent, const Queue& queue);
/// What remains of a product that a library made: [tokens, outputs], twice as wide where gated.
void finish_product(Rows<const float> product, const Finish& finish, Extent extent,
                    const Queue& queue);
/// Reads `bytes` (a multiple of 16) from end to end and does nothing with them; `sink` is one word
/// that stays as it is, as far as anybody can tell.
void read_through(const void* data, std::int64_t bytes, std::uint32_t* sink, const Queue& queue);

}  // namespace spd::cuda
