#include "kernels/cuda/sampling.h"

#include "kernels/cuda/keys.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row_part.cuh"

namespace spd::cuda {

namespace {

constexpr int kThreads = 256;
constexpr float kLargestNoise = 23.0f;  // -log(-log(u)) of the largest u below 1 is under 22.2

__device__ std::uint64_t mix(std::uint64_t x) {  // the finaliser of splitmix64
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// As the host's sampler makes it: in f64, so that both draw the same token.
__device__ float noise(std::uint64_t row_hash, std::int32_t id) {
  const std::uint64_t hash = mix(row_hash ^ static_cast<std::uint64_t>(id));
  const double u = (static_cast<double>(hash >> 33) + 0.5) * 0x1p-31;
  return static_cast<float>(-log(-log(u)));
}

__device__ std::uint64_t row_hash(const GumbelArgs& args, std::int64_t row) {
  const NoiseKey key = args.keys[row];
  return mix(mix(mix(args.seed) ^ key.request) ^ key.step);
}

__global__ void __launch_bounds__(kThreads)
    gumbel_kernel(const __grid_constant__ GumbelArgs args, Key* found) {
  SPD_SHARED(Key, of_warps, kThreads / kWarp);
  let_next_begin();
  wait_for_previous();
  const float* const row = args.logits.logits[blockIdx.y];
  const std::uint64_t hash = row_hash(args, blockIdx.y);
  const RowPart part(args.logits.cols);
  Key best = 0;
  float highest = -INFINITY;
  for (int i = part.begin + static_cast<int>(threadIdx.x); i < part.end; i += kThreads) {
    // Multiplied and added apart, as the host does.
    const float logit = __fmul_rn(row[i], args.scale);
    if (logit + kLargestNoise < highest) continue;  // cannot win: spare the logarithms
    const float noisy = __fadd_rn(logit, noise(hash, args.first_id + i));
    highest = fmaxf(highest, noisy);
    best = larger(best, key_of(noisy, i));
  }
  best = block_largest(best, of_warps);
  if (threadIdx.x == 0) found[blockIdx.y * gridDim.x + blockIdx.x] = best;
}

// One warp a row.
__global__ void __launch_bounds__(kWarp) drawn_kernel(const __grid_constant__ GumbelArgs args,
                                                      const Key* found, int parts, Candidate* out) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t row = blockIdx.x;
  const Key best = largest_of(found + row * parts, parts);
  if (threadIdx.x != 0) return;
  const int index = index_of(best);
  const std::int32_t id = args.first_id + index;
  const float logit = __fmul_rn(args.logits.logits[row][index], args.scale);
  out[row] = {id, __fadd_rn(logit, noise(row_hash(args, row), id))};
}

__device__ double warp_sum_f64(double value) {
  for (int d = kWarp / 2; d > 0; d /= 2) value += __shfl_xor_sync(kAllLanes, value, d);
  return value;
}

__global__ void __launch_bounds__(kThreads)
    sum_exp_kernel(const __grid_constant__ LogitArgs args, const float* tops, double scale,
                   double* partial) {
  SPD_SHARED(double, of_warps, kThreads / kWarp);
  let_next_begin();
  wait_for_previous();
  const float* const row = args.logits[blockIdx.y];
  const float top = tops[blockIdx.y];
  const RowPart part(args.cols);
  double sum = 0.0;
#pragma unroll 1  // one exponential in f64 needs registers enough
  for (int i = part.begin + static_cast<int>(threadIdx.x); i < part.end; i += kThreads) {
    sum += exp(static_cast<double>(row[i] - top) * scale);
  }
  sum = warp_sum_f64(sum);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double total = 0.0;
  for (const double other : of_warps) total += other;
  partial[blockIdx.y * gridDim.x + blockIdx.x] = total;
}

__global__ void __launch_bounds__(kWarp)
    add_parts_kernel(const double* partial, int parts, double* out) {
  let_next_begin();
  wait_for_previous();
  double sum = 0.0;
  for (int i = threadIdx.x; i < parts; i += kWarp) {
    sum += partial[static_cast<std::int64_t>(blockIdx.x) * parts + i];
  }
  sum = warp_sum_f64(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

/// Rows of one launch: sampling has no more than the scheduler takes.
Shape shape_of(const LogitArgs& logits, int parts) {
  return {dim3(static_cast<unsigned>(parts), static_cast<unsigned>(logits.rows)), dim3(kThreads)};
}

}  // namespace

void gumbel_top1(const GumbelArgs& args, Key* found, Candidate* out, const Queue& queue) {
  if (args.logits.rows == 0) return;
  const int parts = row_parts(args.logits.rows, args.logits.cols, queue.multiprocessors);
  launch(queue, "gumbel", shape_of(args.logits, parts), gumbel_kernel, args, found);
  launch(queue, "gumbel", {dim3(static_cast<unsigned>(args.logits.rows)), dim3(kWarp)},
         drawn_kernel, args, found, parts, out);
}

void sum_exp(const LogitArgs& args, const float* tops, double scale, double* partial, double* out,
             const Queue& queue) {
  if (args.rows == 0) return;
  const int parts = row_parts(args.rows, args.cols, queue.multiprocessors);
  launch(queue, "sum_exp", shape_of(args, parts), sum_exp_kernel, args, tops, scale, partial);
  launch(queue, "sum_exp", {dim3(static_cast<unsigned>(args.rows)), dim3(kWarp)}, add_parts_kernel,
         partial, parts, out);
}

}  // namespace spd::cuda
