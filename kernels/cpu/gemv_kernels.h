// Products of few tokens with weights that are read from memory once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/operators.h"

namespace spd {

/// Copies x[count] into the order in which dot_rows reads it for weights of this type, zero-filled
/// to `stride` elements (the weight's). bf16 and i8 are read as pairs, so their x has the even
/// elements of each vector apart from the odd ones.
void arrange_for_dot(const float* x, std::size_t count, DType type, std::size_t stride, float* out);

/// Tokens that one call of dot_rows takes.
inline constexpr int kMaxDotTokens = 8;

/// `by_token`: in an order that does not depend on `tokens`; else in the fastest.
enum class DotOrder : std::uint8_t { fastest, by_token };

/// out[t * out_stride + r] = weight row (first + r) . x[t], for 0 <= r < rows, 0 <= t < tokens.
/// x: arranged, 64-byte aligned, token t at x + t * weight.stride.
void dot_rows(const Weight& weight, std::int64_t first, std::int64_t rows, const float* x,
              int tokens, float* out, std::int64_t out_stride, DotOrder order = DotOrder::fastest);

/// Sum of the whole 64-bit words of a buffer: what reading it at full speed comes to.
std::uint64_t sum_words(const void* data, std::size_t bytes);

}  // namespace spd
