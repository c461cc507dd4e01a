#include "kernels/cuda/keys.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/logits.h"
#include "kernels/cuda/row_part.cuh"

namespace spd::cuda {

namespace {

constexpr int kThreads = 512;
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits, kKeyBits = 64;

// The one largest of a part of a row.
__global__ void __launch_bounds__(kThreads)
    largest_kernel(const __grid_constant__ LogitArgs args, Key* found) {
  SPD_SHARED(Key, of_warps, kThreads / kWarp);
  let_next_begin();
  wait_for_previous();
  const float* const row = args.logits[blockIdx.y];
  const RowPart part(args.cols);
  Key best = 0;
  for (int i = part.begin + static_cast<int>(threadIdx.x); i < part.end; i += kThreads) {
    best = larger(best, key_of(row[i], i));
  }
  best = block_largest(best, of_warps);
  if (threadIdx.x == 0) found[blockIdx.y * gridDim.x + blockIdx.x] = best;
}

// The largest of the parts. One warp a row.
__global__ void __launch_bounds__(kWarp)
    largest_of_parts_kernel(const __grid_constant__ LogitArgs args, const Key* found, int parts,
                            Candidate* out) {
  let_next_begin();
  wait_for_previous();
  const Key best = largest_of(found + static_cast<std::int64_t>(blockIdx.x) * parts, parts);
  if (threadIdx.x == 0) {
    const int index = index_of(best);
    out[blockIdx.x] = {index, args.logits[blockIdx.x][index]};
  }
}

/// The k-th largest key of a row, digit by digit from the top. All threads of the block get it.
__device__ Key find_threshold(const float* row, int cols, int k, unsigned* counts,
                              unsigned* chosen) {
  Key prefix = 0;
  auto left = static_cast<unsigned>(k);  // of the keys that begin with the prefix
  for (int shift = kKeyBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    for (int i = threadIdx.x; i < kDigits; i += kThreads) counts[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < cols; i += kThreads) {
      const Key key = key_of(row[i], i);
      const bool counts_here = shift == kKeyBits - kDigitBits ||
                               key >> (shift + kDigitBits) == prefix >> (shift + kDigitBits);
      if (counts_here) atomicAdd(counts + (key >> shift) % kDigits, 1u);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int digit = kDigits - 1;
      unsigned above = 0;
      while (above + counts[digit] < left) above += counts[digit--];
      chosen[0] = static_cast<unsigned>(digit);
      chosen[1] = left - above;
    }
    __syncthreads();
    prefix |= static_cast<Key>(chosen[0]) << shift;
    left = chosen[1];
    __syncthreads();  // chosen is written again
  }
  return prefix;
}

/// Sorts `count` (a power of two) keys of this block, largest first.
__device__ void sort_keys(Key* keys, int count) {
  for (int size = 2; size <= count; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < count / 2; i += kThreads) {
        const int low = i / distance * distance * 2 + i % distance, high = low + distance;
        const bool descending = (low & size) == 0;
        const Key a = keys[low], b = keys[high];
        if ((a < b) == descending) {
          keys[low] = b;
          keys[high] = a;
        }
      }
    }
  }
  __syncthreads();
}

// One block a row.
__global__ void __launch_bounds__(kThreads)
    top_k_kernel(const __grid_constant__ LogitArgs args, int k, int padded, Key* all_keys,
                 Candidate* out) {
  SPD_SHARED(unsigned, counts, kDigits);
  SPD_SHARED(unsigned, chosen, 2);
  SPD_SHARED(unsigned, taken, 1);
  let_next_begin();
  wait_for_previous();
  const float* const row = args.logits[blockIdx.x];
  Key* const keys = all_keys + static_cast<std::int64_t>(blockIdx.x) * padded;
  const Key threshold = find_threshold(row, args.cols, k, counts, chosen);
  if (threadIdx.x == 0) taken[0] = 0;
  for (int i = k + static_cast<int>(threadIdx.x); i < padded; i += kThreads) keys[i] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < args.cols; i += kThreads) {
    const Key key = key_of(row[i], i);
    if (key >= threshold) keys[atomicAdd(taken, 1u)] = key;  // exactly k of them: keys differ
  }
  sort_keys(keys, padded);
  for (int i = threadIdx.x; i < k; i += kThreads) {
    const int index = index_of(keys[i]);
    out[static_cast<std::int64_t>(blockIdx.x) * k + i] = {index, row[index]};
  }
}

int padded_count(int k) {
  int padded = 2;
  while (padded < k) padded *= 2;
  return padded;
}

}  // namespace

std::int64_t key_count(std::int64_t rows, int cols, int k, int multiprocessors) {
  return rows * (k == 1 ? row_parts(rows, cols, multiprocessors) : padded_count(k));
}

void top_k(const LogitArgs& args, int k, Key* keys, Candidate* out, const Queue& queue) {
  if (args.rows == 0 || k == 0) return;
  const auto rows = static_cast<unsigned>(args.rows);
  if (k > 1) {
    launch(queue, "top_k", {dim3(rows), dim3(kThreads)}, top_k_kernel, args, k, padded_count(k),
           keys, out);
    return;
  }
  const int parts = row_parts(args.rows, args.cols, queue.multiprocessors);
  constexpr std::int64_t kMostRows = 65535;
  for (std::int64_t first = 0; first < args.rows; first += kMostRows) {
    LogitArgs some = args;
    some.logits.data += first * args.logits.stride;
    some.rows = args.rows - first < kMostRows ? args.rows - first : kMostRows;
    const auto count = static_cast<unsigned>(some.rows);
    launch(queue, "argmax", {dim3(static_cast<unsigned>(parts), count), dim3(kThreads)},
           largest_kernel, some, keys + first * parts);
    launch(queue, "argmax", {dim3(count), dim3(kWarp)}, largest_of_parts_kernel, some,
           keys + first * parts, parts, out + first);
  }
}

}  // namespace spd::cuda
