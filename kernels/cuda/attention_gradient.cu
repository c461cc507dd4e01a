#include "kernels/cuda/attention_gradient.h"

#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"

namespace spd::cuda {

namespace {

constexpr int kWarps = 4;  // a block
constexpr int kEach = 8;   // elements of a head that a lane sums: 256 / 32
constexpr float kLowest = -1e30f;

__device__ float dot(const float* a, const float* b, int count) {
  float sum = 0.0f;
#pragma unroll 2  // more would spill
  for (int i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// to[i] += factor * from[i] for this lane's elements.
__device__ void add_scaled(float factor, const float* from, int count, int lane,
                           float (&to)[kEach]) {
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    if (lane + j * kWarp < count) to[j] += factor * from[lane + j * kWarp];
  }
}

__device__ void store(const float (&values)[kEach], int count, int lane, float* to) {
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    if (lane + j * kWarp < count) to[lane + j * kWarp] = values[j];
  }
}

// One warp a query head of a row. Lanes take positions; for the sum over them the weights go round.
__global__ void __launch_bounds__(kWarps* kWarp)
    queries_kernel(const __grid_constant__ AttentionGradient args) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp, hd = args.cache.head_dim;
  if (i >= args.tokens * args.q_heads) return;
  const std::int64_t row = i / args.q_heads;
  const int h = static_cast<int>(i % args.q_heads);
  const SequenceRow sequence = args.rows[row];
  if (sequence.length == 0) return;
  const std::int64_t base = cache_offset(args.cache, sequence.slot, args.kv_head_of[h], 0);
  const float* const keys = static_cast<const float*>(args.cache.keys) + base;
  const float* const values = static_cast<const float*>(args.cache.values) + base;
  const float* const q = args.q[row] + h * hd;
  const float* const dout = args.dout[row] + h * hd;
  const int end = sequence.position + 1;
  const int begin = args.window > 0 && end > args.window ? end - args.window : 0;

  float max = kLowest, sum = 0.0f;
  for (int p = begin + lane; p < end; p += kWarp) {
    max = fmaxf(max, args.scale * dot(q, keys + static_cast<std::int64_t>(p) * hd, hd));
  }
  max = warp_max(max);
  for (int p = begin + lane; p < end; p += kWarp) {
    sum += expf(args.scale * dot(q, keys + static_cast<std::int64_t>(p) * hd, hd) - max);
  }
  sum = warp_sum(sum);
  const float along = dot(args.out[row] + h * hd, dout, hd);
  if (lane == 0) args.softmax[i] = {max, sum, along};

  float dq[kEach] = {};
  for (int first = begin; first < end; first += kWarp) {
    const int p = first + lane;
    float dscore = 0.0f;
    if (p < end) {
      const std::int64_t at = static_cast<std::int64_t>(p) * hd;
      const float weight = expf(args.scale * dot(q, keys + at, hd) - max) / sum;
      dscore = weight * (dot(dout, values + at, hd) - along) * args.scale;
    }
    for (int other = 0; other < kWarp && first + other < end; ++other) {
      add_scaled(__shfl_sync(kAllLanes, dscore, other),
                 keys + static_cast<std::int64_t>(first + other) * hd, hd, lane, dq);
    }
  }
  store(dq, hd, lane, args.dqkv[row] + h * hd);
}

// One warp a KV head of a position. Lanes take the queries that see it.
__global__ void __launch_bounds__(kWarps* kWarp)
    keys_kernel(const __grid_constant__ AttentionGradient args) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp, hd = args.cache.head_dim, kv_heads = args.cache.kv_heads;
  if (i >= args.tokens * kv_heads) return;
  const std::int64_t row = i / kv_heads;
  const int kv_head = static_cast<int>(i % kv_heads);
  const SequenceRow sequence = args.rows[row];
  if (sequence.length == 0) return;
  const std::int64_t at = cache_offset(args.cache, sequence.slot, kv_head, sequence.position);
  const float* const key = static_cast<const float*>(args.cache.keys) + at;
  const float* const value = static_cast<const float*>(args.cache.values) + at;
  const int last = args.window > 0 && sequence.position + args.window < sequence.length
                       ? sequence.position + args.window
                       : sequence.length;
  float dk[kEach] = {}, dv[kEach] = {};
  for (int h = 0; h < args.q_heads; ++h) {
    if (args.kv_head_of[h] != kv_head) continue;
    for (int first = sequence.position; first < last; first += kWarp) {
      float weight = 0.0f, dscore = 0.0f;
      if (first + lane < last) {
        const std::int64_t query = sequence.first + first + lane;
        const float* const q = args.q[query] + h * hd;
        const SoftmaxRow softmax = args.softmax[query * args.q_heads + h];
        weight = expf(args.scale * dot(q, key, hd) - softmax.max) / softmax.sum;
        dscore = weight * (dot(args.dout[query] + h * hd, value, hd) - softmax.dot) * args.scale;
      }
      for (int other = 0; other < kWarp && first + other < last; ++other) {
        const std::int64_t query = sequence.first + first + other;
        add_scaled(__shfl_sync(kAllLanes, dscore, other), args.q[query] + h * hd, hd, lane, dk);
        add_scaled(__shfl_sync(kAllLanes, weight, other), args.dout[query] + h * hd, hd, lane, dv);
      }
    }
  }
  float* const to = args.dqkv[row] + (args.q_heads + kv_head) * hd;
  store(dk, hd, lane, to);
  store(dv, hd, lane, to + kv_heads * hd);
}

}  // namespace

void attention_gradient(const AttentionGradient& args, const Queue& queue) {
  if (args.tokens == 0) return;
  const auto blocks = [](std::int64_t warps) {
    return dim3(static_cast<unsigned>((warps + kWarps - 1) / kWarps));
  };
  if (args.q_heads > 0) {
    launch(queue, "attention_gradient", {blocks(args.tokens * args.q_heads), dim3(kWarps * kWarp)},
           queries_kernel, args);
  }
  launch(queue, "attention_gradient",
         {blocks(args.tokens * args.cache.kv_heads), dim3(kWarps * kWarp)}, keys_kernel, args);
}

}  // namespace spd::cuda
