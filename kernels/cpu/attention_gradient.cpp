#include "kernels/cpu/attention_gradient.h"

#include <algorithm>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gradient_kernels.h"
#include "kernels/cpu/vector_kernels.h"

namespace spd {
namespace {

constexpr std::int64_t kQueries = 64;  // a block's

/// Rows that products take as factors: f32, or rounded copies of them where wanted.
class Factors {
 public:
  /// `room`: for rows * cols bf16, and where nothing is to be rounded, null.
  Factors(const float* data, std::int64_t rows, std::int64_t cols, std::int64_t stride,
          std::uint16_t* room)
      : data_(data), stride_(stride), rounded_(room), cols_(cols) {
    for (std::int64_t r = 0; room && r < rows; ++r) {
      round_to_bf16(data + r * stride, cols, room + r * cols);
    }
  }
  Factors from(std::int64_t row) const {
    Factors rest = *this;
    rest.data_ += row * stride_;
    if (rounded_) rest.rounded_ += row * cols_;
    return rest;
  }

  Factors transposed() const {
    Factors other = *this;
    other.transposed_ = !transposed_;
    return other;
  }

  /// c[m, n] = a[m, k] * b[k, n], or c += that; not both of them transposed.
  static void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const Factors& a,
                       const Factors& b, bool accumulate, float* c, std::int64_t c_stride) {
    if (a.rounded_) {
      return multiply_bf16(m, n, k, a.operand(), b.operand(), accumulate, c, c_stride);
    }
    const auto product = a.transposed_   ? multiply_left_transposed
                         : b.transposed_ ? multiply_transposed
                                         : spd::multiply;
    product(m, n, k, a.data_, a.stride_, b.data_, b.stride_, accumulate ? 1.0f : 0.0f, c, c_stride);
  }

 private:
  Bf16Operand operand() const {
    if (transposed_) return {.data = rounded_, .row_stride = 1, .col_stride = cols_};
    return {.data = rounded_, .row_stride = cols_};
  }

  const float* data_;
  std::int64_t stride_;
  std::uint16_t* rounded_;
  std::int64_t cols_;
  bool transposed_ = false;
};

/// Queries of one head that are gone through together, and the positions that any of them sees.
struct QueryBlock {
  std::int64_t first;  // query, of the segment
  std::int64_t count;
  std::int64_t begin;  // of the positions
  std::int64_t width;

  QueryBlock(std::int64_t first_query, std::int64_t length, std::int64_t window)
      : first(first_query),
        count(std::min(kQueries, length - first_query)),
        begin(window > 0 ? std::max<std::int64_t>(0, first_query - window + 1) : 0),
        width(first + count - begin) {}
};

/// Scores to probabilities, and gradients by probabilities to gradients by scores, [count, width]
/// each, in place. `out` and `dout`: the rows of the block's first query.
void softmax_and_back(const AttentionGradientArgs& args, const QueryBlock& block, const float* out,
                      const float* dout, float* probabilities, float* gradients) {
  for (std::int64_t i = 0; i < block.count; ++i) {
    float* p = probabilities + i * block.width;
    float* dp = gradients + i * block.width;
    const std::int64_t end = block.first + i + 1 - block.begin;
    const std::int64_t begin = args.window > 0 ? std::max<std::int64_t>(0, end - args.window) : 0;
    std::fill(p, p + begin, 0.0f);
    std::fill(p + end, p + block.width, 0.0f);
    softmax_row(p + begin, end - begin, args.scale);
    // Zero probabilities make zero gradients of what is not seen.
    const float dot =
        dot_row(out + i * args.out.stride, dout + i * args.dout.stride, args.cache.head_dim);
    softmax_gradient_row(p, dp, block.width, dot, args.scale);
  }
}

}  // namespace

void attention_gradient(const AttentionGradientArgs& args, const Segment& segment,
                        std::int64_t kv_head, DType factors, Scratch& scratch) {
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
  // Probabilities and their gradients; rounded, keys, values, q, dout, and those two.
  const std::int64_t block = kQueries * segment.length, head = segment.length * hd;
  const bool round = factors == DType::bf16;
  float* probabilities = scratch.reserve(2 * block + (round ? 2 * head + block : 0));
  float* gradients = probabilities + block;
  auto* room = reinterpret_cast<std::uint16_t*>(gradients + block);
  const auto part = [&](int i) { return round ? room + i * head : nullptr; };
  const auto block_part = [&](int i) { return round ? room + 4 * head + i * block : nullptr; };
  const Factors all_keys(keys, segment.length, hd, hd, part(0));
  const Factors all_values(values, segment.length, hd, hd, part(1));

  for (std::int64_t h = 0; h < q_heads; ++h) {
    if (args.kv_head_of[h] != kv_head) continue;
    const Factors all_q(args.q.row(segment.row) + h * hd, segment.length, hd, args.q.stride,
                        part(2));
    const Factors all_dout(args.dout.row(segment.row) + h * hd, segment.length, hd,
                           args.dout.stride, part(3));
    for (std::int64_t first = 0; first < segment.length; first += kQueries) {
      const QueryBlock queries(first, segment.length, args.window);
      const std::int64_t count = queries.count, begin = queries.begin, width = queries.width;
      const std::int64_t row = segment.row + first;
      const float* q = args.q.row(row) + h * hd;
      multiply_transposed(count, width, hd, q, args.q.stride, keys + begin * hd, hd, 0.0f,
                          probabilities, width);
      Factors::multiply(count, width, hd, all_dout.from(first), all_values.from(begin).transposed(),
                        false, gradients, width);
      softmax_and_back(args, queries, args.out.row(row) + h * hd, args.dout.row(row) + h * hd,
                       probabilities, gradients);
      const Factors p(probabilities, count, width, width, block_part(0));
      const Factors dp(gradients, count, width, width, block_part(1));
      Factors::multiply(count, hd, width, dp, all_keys.from(begin), false,
                        args.dqkv.row(row) + h * hd, stride);
      Factors::multiply(width, hd, count, p.transposed(), all_dout.from(first), true,
                        dvalues + begin * stride, stride);
      Factors::multiply(width, hd, count, dp.transposed(), all_q.from(first), true,
                        dkeys + begin * stride, stride);
    }
  }
}

}  // namespace spd
