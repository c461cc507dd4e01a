// Candidates as integers that compare as sampling ranks them.
#pragma once

#include "kernels/cuda/language.cuh"
#include "kernels/cuda/logits.h"

namespace spd::cuda {

/// Larger for larger logits, among equal ones for the smaller index; NaN is the smallest of all.
__device__ inline Key key_of(float logit, int index) {
  std::uint32_t order = 0;
  if (logit == logit) {
    const std::uint32_t bits = __float_as_uint(logit == 0.0f ? 0.0f : logit);  // -0 is 0
    order = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  }
  return static_cast<Key>(order) << 32 | (0xffffffffu - static_cast<std::uint32_t>(index));
}

__device__ inline int index_of(Key key) {
  return static_cast<int>(0xffffffffu - static_cast<std::uint32_t>(key));
}

__device__ inline Key larger(Key a, Key b) { return a > b ? a : b; }

__device__ inline Key warp_largest(Key key) {
  for (int d = kWarp / 2; d > 0; d /= 2) key = larger(key, __shfl_xor_sync(kAllLanes, key, d));
  return key;
}

/// Of all threads of the block, in every thread. `of_warps` is shared memory of one key a warp,
/// which nobody else uses until the next barrier.
template <int kWarps>
__device__ inline Key block_largest(Key key, Key (&of_warps)[kWarps]) {
  key = warp_largest(key);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = key;
  __syncthreads();
  for (const Key other : of_warps) key = larger(key, other);
  return key;
}

/// What one warp finds among `count` keys.
__device__ inline Key largest_of(const Key* keys, int count) {
  Key best = 0;
  for (int i = threadIdx.x; i < count; i += kWarp) best = larger(best, keys[i]);
  return warp_largest(best);
}

}  // namespace spd::cuda
