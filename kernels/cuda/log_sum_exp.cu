#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/logits.h"
#include "kernels/cuda/row_part.cuh"

namespace spd::cuda {

namespace {

constexpr int kThreads = 256;

__device__ float exp_of_difference(float value, float max) {
  return value == max ? 1.0f : expf(value - max);  // also of two equal infinities
}

// One block a part of a row.
__global__ void __launch_bounds__(kThreads)
    part_kernel(const __grid_constant__ LogitArgs args, LogSumExp* partial) {
  SPD_SHARED(float, of_warps, kThreads / kWarp);
  let_next_begin();
  wait_for_previous();
  const float* const row = args.logits[blockIdx.y];
  const RowPart part(args.cols);
  float max = -INFINITY;
  for (int i = part.begin + static_cast<int>(threadIdx.x); i < part.end; i += kThreads) {
    max = fmaxf(max, row[i]);
  }
  max = warp_max(max);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = max;
  __syncthreads();
  for (const float other : of_warps) max = fmaxf(max, other);
  __syncthreads();  // of_warps is written again
  float sum = 0.0f;
  for (int i = part.begin + static_cast<int>(threadIdx.x); i < part.end; i += kThreads) {
    sum += exp_of_difference(row[i], max);
  }
  sum = block_sum(sum, of_warps);
  if (threadIdx.x == 0) partial[blockIdx.y * gridDim.x + blockIdx.x] = {max, sum};
}

// One warp a row.
__global__ void __launch_bounds__(kWarp)
    whole_kernel(const LogSumExp* partial, int parts, LogSumExp* out) {
  let_next_begin();
  wait_for_previous();
  const LogSumExp* const row = partial + static_cast<std::int64_t>(blockIdx.x) * parts;
  float max = -INFINITY, sum = 0.0f;
  for (int i = threadIdx.x; i < parts; i += kWarp) max = fmaxf(max, row[i].max);
  max = warp_max(max);
  for (int i = threadIdx.x; i < parts; i += kWarp) {
    sum += row[i].sum * exp_of_difference(row[i].max, max);
  }
  sum = warp_sum(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = {max, sum};
}

}  // namespace

int row_parts(std::int64_t rows, int cols, int multiprocessors) {
  constexpr int kLeast = 4096;  // columns that are worth a block
  int parts = 1;
  while (rows * parts < multiprocessors && cols >= 2 * parts * kLeast) parts *= 2;
  return parts;
}

void log_sum_exp(const LogitArgs& args, LogSumExp* partial, LogSumExp* out, const Queue& queue) {
  const int parts = row_parts(args.rows, args.cols, queue.multiprocessors);
  constexpr std::int64_t kMostRows = 65535;
  for (std::int64_t first = 0; first < args.rows; first += kMostRows) {
    LogitArgs some = args;
    some.logits.data += first * args.logits.stride;
    some.rows = args.rows - first < kMostRows ? args.rows - first : kMostRows;
    const auto rows = static_cast<unsigned>(some.rows);
    launch(queue, "log_sum_exp", {dim3(static_cast<unsigned>(parts), rows), dim3(kThreads)},
           part_kernel, some, partial + first * parts);
    launch(queue, "log_sum_exp", {dim3(rows), dim3(kWarp)}, whole_kernel, partial + first * parts,
           parts, out + first);
  }
}

}  // namespace spd::cuda
