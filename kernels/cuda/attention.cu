// A block takes one row, one part of its positions, and the query heads that read one KV head.
// Lanes that together hold one head of the cache (8 elements each) form a team; teams take
// positions in turn, each with a running soft-max of its own, and what they found is put together
// at the end.
#include "kernels/cuda/attention.h"

#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"

namespace spd::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kEach = 8;  // elements of a head that a lane holds
constexpr float kLowest = -1e30f;

/// Lanes of a team: a power of two, so that shuffles stay within it.
__host__ __device__ constexpr int team_lanes(int head_dim) {
  int lanes = 1;
  while (lanes * kEach < head_dim) lanes *= 2;
  return lanes;
}

template <DType kType>
__device__ void load_head(const typename Elements<kType>::Type* head, int first, int count,
                          bool aligned, float (&out)[kEach]) {
  using E = Elements<kType>;
  if (aligned && first + kEach <= count) {
    constexpr int kVector = E::kCount;
#pragma unroll
    for (int i = 0; i < kEach; i += kVector) {
      float some[kVector];
      E::unpack(*reinterpret_cast<const uint4*>(head + first + i), some);
#pragma unroll
      for (int j = 0; j < kVector; ++j) out[i + j] = some[j];
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    out[i] = first + i < count ? E::load(head + first + i) : 0.0f;
  }
}

/// Of one query head, over the positions of one team.
struct Softmax {
  float max = kLowest, sum = 0.0f;
  float values[kEach] = {};

  __device__ void add(float score, const float (&v)[kEach]) {
    const float higher = fmaxf(max, score);
    const float keep = expf(max - higher), weight = expf(score - higher);
    max = higher;
    sum = sum * keep + weight;
#pragma unroll
    for (int i = 0; i < kEach; ++i) values[i] = values[i] * keep + weight * v[i];
  }
};

/// Positions [begin, end) of this block's part.
struct Part {
  int begin, end;
  __device__ Part(const DecodeArgs& args, int position, int index) {
    const int first =
        args.window > 0 && position + 1 > args.window ? position + 1 - args.window : 0;
    const int count = position + 1 - first, each = (count + args.splits - 1) / args.splits;
    begin = first + min(index * each, count);
    end = first + min((index + 1) * each, count);
  }
};

/// Puts teams' results together; of one part: writes the head, of several: the part's own.
template <int kHeads>
__device__ void combine_teams(const DecodeArgs& args, const HeadGroup& group, const float* found,
                              int teams, std::int64_t token, int split) {
  const int count = args.cache.head_dim, wide = count + 2;
  for (int i = threadIdx.x; i < group.count * count; i += kThreads) {
    const int h = i / count, d = i % count;
    const float* const head = found + h * wide;
    float max = kLowest, sum = 0.0f, value = 0.0f;
    for (int t = 0; t < teams; ++t) max = fmaxf(max, head[t * kHeads * wide]);
    for (int t = 0; t < teams; ++t) {
      const float* const one = head + t * kHeads * wide;
      const float weight = expf(one[0] - max);
      sum += weight * one[1];
      value += weight * one[2 + d];
    }
    if (args.splits == 1) {
      args.out[token][group.heads[h] * count + d] = value / sum;
      continue;
    }
    float* const part =
        args.partial + ((token * args.q_heads + group.heads[h]) * args.splits + split) * wide;
    part[2 + d] = value;
    if (d == 0) {
      part[0] = max;
      part[1] = sum;
    }
  }
}

template <DType kType, int kHeads>
__global__ void __launch_bounds__(kThreads) decode_kernel(const __grid_constant__ DecodeArgs args) {
  using Type = typename Elements<kType>::Type;
  SPD_DYNAMIC_SHARED(float, found);  // [teams, kHeads, head_dim + 2]: max, sum, values
  let_next_begin();
  wait_for_previous();
  const std::int64_t token = blockIdx.z;
  const StepRow row = args.rows[token];
  if (row.slot < 0 || (args.skips_tiled && row.tiled != 0)) return;
  const HeadGroup& group = args.groups[blockIdx.y];
  const int count = args.cache.head_dim, lanes = team_lanes(count), teams = kThreads / lanes;
  const int team = threadIdx.x / lanes, first = threadIdx.x % lanes * kEach;
  const bool aligned = count % kEach == 0;
  const Part part(args, row.position, blockIdx.x);

  float q[kHeads][kEach];
  const bool q_aligned =
      aligned && args.q.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(args.q.data) % 16 == 0;
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    const int head = group.heads[min(h, group.count - 1)];
    load_floats(args.q[token] + head * count, first, count, q_aligned, q[h]);
#pragma unroll
    for (int i = 0; i < kEach; ++i) q[h][i] *= args.scale;
  }
  Softmax softmax[kHeads];
  // All lanes of a warp stay together: the shuffles need them.
  for (int base = part.begin; base < part.end; base += teams) {
    const int position = base + team;
    const bool there = position < part.end;
    float k[kEach] = {}, v[kEach] = {};
    if (there) {
      const std::int64_t at = cache_offset(args.cache, row.slot, group.kv_head, position);
      load_head<kType>(static_cast<const Type*>(args.cache.keys) + at, first, count, aligned, k);
      load_head<kType>(static_cast<const Type*>(args.cache.values) + at, first, count, aligned, v);
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float score = 0.0f;
#pragma unroll
      for (int i = 0; i < kEach; ++i) score += q[h][i] * k[i];
      for (int d = lanes / 2; d > 0; d /= 2) score += __shfl_xor_sync(kAllLanes, score, d);
      if (there) softmax[h].add(score, v);
    }
  }
  const int wide = count + 2;
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    float* const head = found + (team * kHeads + h) * wide;
    if (first == 0) {
      head[0] = softmax[h].max;
      head[1] = softmax[h].sum;
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (first + i < count) head[2 + first + i] = softmax[h].values[i];
    }
  }
  __syncthreads();
  combine_teams<kHeads>(args, group, found, teams, token, blockIdx.x);
}

// One block a query head and row.
__global__ void __launch_bounds__(kThreads)
    combine_kernel(const __grid_constant__ DecodeArgs args) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t token = blockIdx.y;
  const StepRow row = args.rows[token];
  if (row.slot < 0 || (args.skips_tiled && row.tiled != 0)) return;
  const int count = args.cache.head_dim, wide = count + 2;
  const float* const parts = args.partial + (token * args.q_heads + blockIdx.x) *
                                                static_cast<std::int64_t>(args.splits) * wide;
  float max = kLowest;
  for (int s = 0; s < args.splits; ++s) max = fmaxf(max, parts[s * wide]);
  for (int d = threadIdx.x; d < count; d += kThreads) {
    float sum = 0.0f, value = 0.0f;
    for (int s = 0; s < args.splits; ++s) {
      const float weight = expf(parts[s * wide] - max);
      sum += weight * parts[s * wide + 1];
      value += weight * parts[s * wide + 2 + d];
    }
    args.out[token][blockIdx.x * count + d] = value / sum;
  }
}

template <DType kType, int kHeads>
void launch_decode(const DecodeArgs& args, const Queue& queue) {
  const int teams = kThreads / team_lanes(args.cache.head_dim);
  const Shape shape{
      dim3(static_cast<unsigned>(args.splits), static_cast<unsigned>(args.group_count),
           static_cast<unsigned>(args.tokens)),
      dim3(kThreads), teams * kHeads * (args.cache.head_dim + 2) * sizeof(float)};
  launch(queue, "decode_attention", shape, decode_kernel<kType, kHeads>, args);
}

template <DType kType>
void launch_decode(const DecodeArgs& args, const Queue& queue) {
  if (args.widest_group == 1) return launch_decode<kType, 1>(args, queue);
  if (args.widest_group == 2) return launch_decode<kType, 2>(args, queue);
  if (args.widest_group <= 4) return launch_decode<kType, 4>(args, queue);
  launch_decode<kType, 8>(args, queue);
}

}  // namespace

int choose_splits(std::int64_t tokens, int group_count, std::int64_t longest, int multiprocessors) {
  constexpr std::int64_t kLeast = 128;  // positions that are worth a block
  constexpr int kBlocksEach = 2, kMost = 64;
  const std::int64_t blocks = tokens * group_count;
  std::int64_t splits = 1;
  while (splits < kMost && blocks * splits < std::int64_t{kBlocksEach} * multiprocessors &&
         longest >= 2 * splits * kLeast) {
    splits *= 2;
  }
  return static_cast<int>(splits);
}

void decode_attention(const DecodeArgs& given, const Queue& queue) {
  constexpr std::int64_t kMostRows = 65535;
  for (std::int64_t first = 0; first < given.tokens; first += kMostRows) {
    DecodeArgs args = given;
    args.tokens = given.tokens - first < kMostRows ? given.tokens - first : kMostRows;
    args.q.data += first * args.q.stride;
    args.out.data += first * args.out.stride;
    args.rows += first;
    if (args.cache.type == DType::f32) launch_decode<DType::f32>(args, queue);
    if (args.cache.type == DType::bf16) launch_decode<DType::bf16>(args, queue);
    if (args.cache.type == DType::f16) launch_decode<DType::f16>(args, queue);
    if (args.splits == 1) continue;
    launch(queue, "combine_attention",
           {dim3(static_cast<unsigned>(args.q_heads), static_cast<unsigned>(args.tokens)),
            dim3(kThreads)},
           combine_kernel, args);
  }
}

}  // namespace spd::cuda
