#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/store_kv.h"

namespace spd::cuda {

namespace {

constexpr int kWarps = 4;  // a block: one head each

__device__ void normalise(float* head, int count, const HeadNorm& norm, int lane) {
  const auto n = static_cast<float>(count);
  float mean = 0.0f;
  if (norm.layer) {
    float sum = 0.0f;
    for (int i = lane; i < count; i += kWarp) sum += head[i];
    mean = warp_sum(sum) / n;
  }
  float squares = 0.0f;
  for (int i = lane; i < count; i += kWarp) squares += (head[i] - mean) * (head[i] - mean);
  const float scale = 1.0f / sqrtf(warp_sum(squares) / n + norm.epsilon);
  for (int i = lane; i < count; i += kWarp) {
    float value = (head[i] - mean) * scale * norm.weight[i];
    if (norm.layer && norm.bias) value += norm.bias[i];
    head[i] = value;
  }
}

// Pairs (i, i + half) turn by the angle of the position.
__device__ void rotate(float* head, const float* angles, int half, int lane) {
  for (int i = lane; i < half; i += kWarp) {
    const float a = head[i], b = head[i + half];
    const float cosine = angles[i], sine = angles[half + i];
    head[i] = a * cosine - b * sine;
    head[i + half] = b * cosine + a * sine;
  }
}

template <DType kType>
__global__ void __launch_bounds__(kWarps* kWarp)
    store_kernel(const __grid_constant__ StoreArgs args) {
  using Type = typename Elements<kType>::Type;
  SPD_DYNAMIC_SHARED(float, heads);  // [kWarps, head_dim]
  let_next_begin();
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int h = blockIdx.x * kWarps + warp, count = args.cache.head_dim;
  if (h >= args.q_heads + 2 * args.cache.kv_heads) return;
  wait_for_previous();
  const StepRow row = args.rows[blockIdx.y];
  if (row.slot < 0) return;
  const bool query = h < args.q_heads, key = !query && h < args.q_heads + args.cache.kv_heads;
  float* const from = args.qkv[blockIdx.y] + static_cast<std::int64_t>(h) * count;
  float* const head = heads + warp * count;
  for (int i = lane; i < count; i += kWarp) head[i] = from[i];
  if (query || key) {
    const HeadNorm& norm = query ? args.q_norm : args.k_norm;
    if (norm.weight) normalise(head, count, norm, lane);
    __syncwarp();
    if (args.cos_sin) {
      const float* angles =
          args.cos_sin + static_cast<std::int64_t>(row.position) * args.rotary_dim;
      rotate(head, angles, args.rotary_dim / 2, lane);
    }
    __syncwarp();
    for (int i = lane; i < count; i += kWarp) from[i] = head[i];
  }
  if (query) return;
  const int kv_head = (h - args.q_heads) % args.cache.kv_heads;
  Type* const to = static_cast<Type*>(key ? args.cache.keys : args.cache.values) +
                   cache_offset(args.cache, row.slot, kv_head, row.position);
  for (int i = lane; i < count; i += kWarp) Elements<kType>::store(to + i, head[i]);
}

}  // namespace

void store_kv(const StoreArgs& args, const Queue& queue) {
  const int heads = args.q_heads + 2 * args.cache.kv_heads;
  const auto kernel = args.cache.type == DType::f32    ? store_kernel<DType::f32>
                      : args.cache.type == DType::bf16 ? store_kernel<DType::bf16>
                                                       : store_kernel<DType::f16>;
  constexpr std::int64_t kMostRows = 65535;
  for (std::int64_t first = 0; first < args.tokens; first += kMostRows) {
    StoreArgs some = args;
    some.qkv.data += first * args.qkv.stride;
    some.rows += first;
    const std::int64_t count = args.tokens - first < kMostRows ? args.tokens - first : kMostRows;
    launch(
        queue, "store_kv",
        {dim3(static_cast<unsigned>((heads + kWarps - 1) / kWarps), static_cast<unsigned>(count)),
         dim3(kWarps * kWarp), kWarps * args.cache.head_dim * sizeof(float)},
        kernel, some);
  }
}

}  // namespace spd::cuda
