#include "tests/cuda_emulation/tests/hazards.h"

#include "kernels/cuda/launch.cuh"

namespace spd::test {

namespace {

using cuda::kAllLanes;
using cuda::kWarp;
using cuda::launch;

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

__device__ float use_stack(float value) {
  constexpr int kCount = 7300;  // nearly 29 KiB
  volatile float frame[kCount];
  for (int i = 0; i < kCount; ++i) frame[i] = value;
  return frame[threadIdx.x];
}

__global__ void sum_and_largest_kernel(const float* x, int count, float* out, Hazard hazard) {
  SPD_SHARED(float, of_warps, kWarps);
  SPD_SHARED(float, unused, kWarps);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  if (hazard == Hazard::early_return && threadIdx.x == 5) return;
  float sum = 0.0f, largest = -1e30f;
  const int end = hazard == Hazard::load_beyond ? count + 1 : count;
  for (int i = threadIdx.x; i < end; i += kThreads) {
    sum += x[i];
    largest = fmaxf(largest, x[i]);
  }
  if (hazard == Hazard::early_return) {
    if (lane == 0) of_warps[warp] = sum;  // no exchange: a lane is missing
  } else {
    const std::uint32_t mask = hazard == Hazard::narrow_mask ? 0x0000ffffu : kAllLanes;
    if ((mask >> lane & 1) != 0) {
      for (int d = kWarp / 2; d > 0; d /= 2) sum += __shfl_down_sync(mask, sum, d);
    }
    largest = cuda::warp_max(largest);
    if (lane == 0) of_warps[warp] = sum;
  }
  if (hazard == Hazard::unwritten_shared) sum += unused[warp];
  if (hazard == Hazard::shared_beyond && threadIdx.x == 3) of_warps[count / 75] = sum;  // 4
  if (hazard == Hazard::deep_stack && threadIdx.x == 1) sum += use_stack(0.0f);
  if (hazard != Hazard::no_barrier) __syncthreads();
  float total = 0.0f;
  for (int w = 0; w < kWarps; ++w) total += of_warps[w];
  if (hazard != Hazard::no_second_barrier) __syncthreads();
  if (lane == 0) of_warps[warp] = largest;
  if (hazard == Hazard::divergent_barrier) {
    if (threadIdx.x < kWarp) __syncthreads();
  } else {
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    out[0] = total + (hazard == Hazard::unwritten_shared ? sum * 0.0f : 0.0f);
    for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, of_warps[w]);
    out[1] = largest;
  }
  if (hazard == Hazard::store_beyond && threadIdx.x == 100) out[2] = sum;
}

__global__ void scale_kernel(const float* x, int count, float factor, float* out,
                             bool before_wait) {
  cuda::let_next_begin();
  const int i = blockIdx.x * kThreads + threadIdx.x;
  float value = 0.0f;
  if (before_wait && i < count) value = x[i];
  cuda::wait_for_previous();
  if (i >= count) return;
  if (!before_wait) value = x[i];
  out[i] = factor * value;
}

__global__ void load_vectors_kernel(const float* x, int first, int count, float* out) {
  const int i = threadIdx.x;
  if (i >= count) return;
  const float4 four = *reinterpret_cast<const float4*>(x + first + 4 * i);
  out[i] = four.x + four.y + four.z + four.w;
}

__global__ void exchange_kernel(const __grid_constant__ Exchange args) {
  for (int i = threadIdx.x; i < args.count; i += kThreads) args.own_slot[i] = args.mine[i];
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence_system();
    cuda::store_release(args.own_flag, 1);
    while (args.waits && cuda::load_acquire(args.peer_flag) != 1) {
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < args.count; i += kThreads) args.mine[i] += args.peer_slot[i];
}

__global__ void all_write_one_kernel(float* out) {
  if (threadIdx.x == 0) out[0] = static_cast<float>(blockIdx.x);
}

__global__ void wait_for_ever_kernel(const std::uint32_t* flag) {
  if (threadIdx.x == 0) {
    while (cuda::load_acquire(flag) == 0) {
    }
  }
  __syncthreads();
}

__global__ void one_tile_kernel(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  const int lane = threadIdx.x, group = lane / 4, pair = lane % 4 * 2;
  std::uint32_t fa[4], fb[2];
  for (int i = 0; i < 4; ++i) {
    fa[i] =
        *reinterpret_cast<const std::uint32_t*>(a + (group + i % 2 * 8) * 16 + pair + i / 2 * 8);
  }
  for (int i = 0; i < 2; ++i) {
    fb[i] = *reinterpret_cast<const std::uint32_t*>(b + group * 16 + pair + i * 8);
  }
  float sums[4] = {};
  cuda::multiply_tile(sums, fa, fb);
  for (int i = 0; i < 4; ++i) d[(group + i / 2 * 8) * 8 + pair + i % 2] = sums[i];
}

}  // namespace

void sum_and_largest(const float* x, int count, float* out, Hazard hazard,
                     const cuda::Queue& queue) {
  launch(queue, "sum_and_largest", {dim3(1), dim3(kThreads)}, sum_and_largest_kernel, x, count, out,
         hazard);
}

void scale(const float* x, int count, float factor, float* out, bool before_wait,
           const cuda::Queue& queue) {
  launch(queue, "scale",
         {dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)), dim3(kThreads)},
         scale_kernel, x, count, factor, out, before_wait);
}

void load_vectors(const float* x, int first, int count, float* out, const cuda::Queue& queue) {
  launch(queue, "load_vectors", {dim3(1), dim3(kThreads)}, load_vectors_kernel, x, first, count,
         out);
}

void exchange_and_add(const Exchange& exchange, const cuda::Queue& queue) {
  launch(queue, "exchange", {dim3(1), dim3(kThreads)}, exchange_kernel, exchange);
}

void all_write_one(float* out, const cuda::Queue& queue) {
  launch(queue, "all_write_one", {dim3(3), dim3(kWarp)}, all_write_one_kernel, out);
}

void wait_for_ever(const std::uint32_t* flag, const cuda::Queue& queue) {
  launch(queue, "wait_for_ever", {dim3(1), dim3(kWarp)}, wait_for_ever_kernel, flag);
}

void one_tile(const std::uint16_t* a, const std::uint16_t* b, float* d, const cuda::Queue& queue) {
  launch(queue, "one_tile", {dim3(1), dim3(kWarp)}, one_tile_kernel, a, b, d);
}

}  // namespace spd::test
