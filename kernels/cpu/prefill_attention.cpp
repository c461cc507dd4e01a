#include "kernels/cpu/prefill_attention.h"

#include <algorithm>
#include <cstddef>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/vector_kernels.h"

namespace spd {
namespace {

// Cached positions converted to f32 at a time: bounds the scratch, whatever the context.
constexpr std::int64_t kKeyBlock = 512;

// Calls body(position, count, rows as f32) for blocks of the cached positions [begin, end).
template <class Body>
void for_cached(const void* cached, DType dtype, std::int64_t head_dim, std::int64_t begin,
                std::int64_t end, float* converted, Body&& body) {
  const auto* bytes = static_cast<const std::byte*>(cached);
  for (std::int64_t p = begin; p < end; p += kKeyBlock) {
    const std::int64_t count = std::min(kKeyBlock, end - p);
    convert_to_f32(bytes + p * head_dim * size_of(dtype), dtype, count * head_dim, converted);
    body(p, count, converted);
  }
}

}  // namespace

void attend_block(const AttentionArgs& args, const Segment& segment, std::int64_t head,
                  std::int64_t first, std::int64_t count, Scratch& scratch) {
  const KvLayer& cache = args.cache;
  const std::int64_t hd = cache.head_dim;
  // Positions that any row of the block sees.
  const std::int64_t position = segment.position + first;
  const std::int64_t end = position + count;
  const std::int64_t begin =
      args.window > 0 ? std::max<std::int64_t>(0, position - args.window + 1) : 0;
  const std::int64_t width = end - begin;

  float* scores = scratch.reserve(kQueryBlock * width + kKeyBlock * hd);
  float* converted = scores + kQueryBlock * width;
  const std::int64_t kv_head = args.kv_head_of[head];
  const std::size_t offset =
      (segment.slot * cache.kv_heads + kv_head) * cache.capacity * hd * size_of(cache.dtype);
  const float* q = args.q.row(segment.row + first) + head * hd;
  float* out = args.out.row(segment.row + first) + head * hd;

  for_cached(static_cast<const std::byte*>(cache.keys) + offset, cache.dtype, hd, begin, end,
             converted, [&](std::int64_t p, std::int64_t n, const float* keys) {
               multiply_transposed(count, n, hd, q, args.q.stride, keys, hd, 0.0f,
                                   scores + (p - begin), width);
             });
  for (std::int64_t i = 0; i < count; ++i) {
    float* row = scores + i * width;
    const std::int64_t visible_end = position + i + 1 - begin;
    const std::int64_t visible_begin =
        args.window > 0 ? std::max<std::int64_t>(0, position + i + 1 - args.window - begin) : 0;
    std::fill(row, row + visible_begin, 0.0f);
    std::fill(row + visible_end, row + width, 0.0f);
    softmax_row(row + visible_begin, visible_end - visible_begin, args.scale);
  }
  for_cached(static_cast<const std::byte*>(cache.values) + offset, cache.dtype, hd, begin, end,
             converted, [&](std::int64_t p, std::int64_t n, const float* values) {
               multiply(count, hd, n, scores + (p - begin), width, values, hd,
                        p == begin ? 0.0f : 1.0f, out, args.out.stride);
             });
}

}  // namespace spd
