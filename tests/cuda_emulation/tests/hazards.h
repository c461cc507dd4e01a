// Small kernels that can be told to do what kernels must not do.
#pragma once

#include <cstdint>

#include "kernels/cuda/queue.h"

namespace spd::test {

enum class Hazard {
  none,
  no_barrier,         ///< between writing shared memory and reading it
  no_second_barrier,  ///< between reading shared memory and writing it again
  narrow_mask,        ///< a shuffle that reads a lane outside of its mask
  divergent_barrier,  ///< reached by one warp only
  early_return,       ///< of a thread, before a barrier that the others wait at
  load_beyond,        ///< one element past the end of a buffer
  store_beyond,
  unwritten_shared,  ///< read, never written
  shared_beyond,     ///< one element past the end of shared memory
  deep_stack,        ///< more than a thread has
};

/// out [2]: the sum and the largest of x [count]. One block.
void sum_and_largest(const float* x, int count, float* out, Hazard hazard,
                     const cuda::Queue& queue);
/// out[i] = factor * x[i]. `before_wait`: reads x before it waits for the kernel that makes it.
void scale(const float* x, int count, float factor, float* out, bool before_wait,
           const cuda::Queue& queue);
/// out[i] = x[first + 4 * i] by loads of 16 bytes.
void load_vectors(const float* x, int first, int count, float* out, const cuda::Queue& queue);
/// Puts `mine` [count] where the peer sees it, says so by a flag, waits for the peer's unless told
/// not to, and adds what the peer has put there.
struct Exchange {
  float *mine, *own_slot;
  const float* peer_slot;
  std::uint32_t* own_flag;
  const std::uint32_t* peer_flag;
  int count;
  bool waits;
};
void exchange_and_add(const Exchange& exchange, const cuda::Queue& queue);
/// Every block writes to out[0].
void all_write_one(float* out, const cuda::Queue& queue);
/// Waits for a flag that nobody sets.
void wait_for_ever(const std::uint32_t* flag, const cuda::Queue& queue);
/// d [16, 8] = a [16, 16] * b [8, 16]^T in bf16, by one tile.
void one_tile(const std::uint16_t* a, const std::uint16_t* b, float* d, const cuda::Queue& queue);

}  // namespace spd::test
