#include "kernels/cpu/attention_gradient.h"

#include <algorithm>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gradient_kernels.h"
#include "kernels/cpu/vector_kernels.h"

namespace spd {
namespace {

constexpr std::int64_t kQueries = 64;  // a block's

}  // namespace

void attention_gradient(const AttentionGradientArgs& args, const Segment& segment,
                        std::int64_t kv_head, Scratch& scratch) {
  const KvLayer& cache = args.cache;
  const std::int64_t hd = cache.head_dim;
  const auto q_heads = static_cast<std::int64_t>(args.kv_head_of.size());
  const std::int64_t offset = (segment.slot * cache.kv_heads + kv_head) * cache.capacity * hd;
  const float* keys = static_cast<const float*>(cache.keys) + offset;
  const float* values = static_cast<const float*>(cache.values) + offset;
  const std::int64_t stride = args.dqkv.stride;
  float* dkeys = args.dqkv.row(segment.row) + (q_heads + kv_head) * hd;
  float* dvalues = dkeys + cache.kv_heads * hd;
  for (std::int64_t i = 0; i < segment.length; ++i) {
    std::fill_n(dkeys + i * stride, hd, 0.0f);
    std::fill_n(dvalues + i * stride, hd, 0.0f);
  }
  float* probabilities = scratch.reserve(2 * kQueries * segment.length);
  float* gradients = probabilities + kQueries * segment.length;

  for (std::int64_t h = 0; h < q_heads; ++h) {
    if (args.kv_head_of[h] != kv_head) continue;
    for (std::int64_t first = 0; first < segment.length; first += kQueries) {
      const std::int64_t count = std::min(kQueries, segment.length - first);
      // Positions that any query of the block sees.
      const std::int64_t end = first + count;
      const std::int64_t begin =
          args.window > 0 ? std::max<std::int64_t>(0, first - args.window + 1) : 0;
      const std::int64_t width = end - begin;
      const std::int64_t row = segment.row + first;
      const float* q = args.q.row(row) + h * hd;
      const float* dout = args.dout.row(row) + h * hd;

      multiply_transposed(count, width, hd, q, args.q.stride, keys + begin * hd, hd, 0.0f,
                          probabilities, width);
      multiply_transposed(count, width, hd, dout, args.dout.stride, values + begin * hd, hd, 0.0f,
                          gradients, width);
      for (std::int64_t i = 0; i < count; ++i) {
        float* p = probabilities + i * width;
        float* dp = gradients + i * width;
        const std::int64_t visible_end = first + i + 1 - begin;
        const std::int64_t visible_begin =
            args.window > 0 ? std::max<std::int64_t>(0, first + i + 1 - args.window - begin) : 0;
        std::fill(p, p + visible_begin, 0.0f);
        std::fill(p + visible_end, p + width, 0.0f);
        const std::int64_t visible = visible_end - visible_begin;
        softmax_row(p + visible_begin, visible, args.scale);
        // Zero probabilities make zero gradients of what is not seen.
        const float dot = dot_row(args.out.row(row + i) + h * hd, dout + i * args.dout.stride, hd);
        softmax_gradient_row(p, dp, width, dot, args.scale);
      }
      float* dq = args.dqkv.row(row) + h * hd;
      multiply(count, hd, width, gradients, width, keys + begin * hd, hd, 0.0f, dq, stride);
      multiply_left_transposed(width, hd, count, probabilities, width, dout, args.dout.stride, 1.0f,
                               dvalues + begin * stride, stride);
      multiply_left_transposed(width, hd, count, gradients, width, q, args.q.stride, 1.0f,
                               dkeys + begin * stride, stride);
    }
  }
}

}  // namespace spd
