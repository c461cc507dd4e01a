#include "kernels/cuda/language.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/wire.h"

namespace spd::cuda {

namespace {

constexpr int kWarps = 8;  // a block: a wire block each
constexpr int kBlock = 32;
constexpr int kBlockBytes = kBlock + static_cast<int>(sizeof(float));
constexpr std::uint32_t kMagnitude = 0x7fffffffu, kInfinity = 0x7f800000u;

__device__ std::uint16_t to_bf16(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  // A NaN must not be rounded up to an infinity or to zero.
  if ((bits & kMagnitude) > kInfinity) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + (bits >> 16 & 1u) + 0x7fffu) >> 16);
}

__global__ void __launch_bounds__(kWarps* kWarp)
    encode_bf16_kernel(const float* from, std::int64_t count, std::uint16_t* to) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t i = std::int64_t{blockIdx.x} * (kWarps * kWarp) + threadIdx.x;
  if (i < count) to[i] = to_bf16(from[i]);
}

__global__ void __launch_bounds__(kWarps* kWarp)
    decode_bf16_kernel(const std::uint16_t* from, std::int64_t count, float* to, bool adds) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t i = std::int64_t{blockIdx.x} * (kWarps * kWarp) + threadIdx.x;
  if (i >= count) return;
  const float value = __uint_as_float(static_cast<std::uint32_t>(from[i]) << 16);
  to[i] = adds ? to[i] + value : value;
}

// One warp a block of 32.
__global__ void __launch_bounds__(kWarps* kWarp)
    encode_int8_kernel(const float* from, std::int64_t count, std::uint8_t* to) {
  let_next_begin();
  wait_for_previous();
  const int lane = threadIdx.x % kWarp;
  const std::int64_t block = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  const std::int64_t i = block * kBlock + lane;
  if (block * kBlock >= count) return;
  const float value = i < count ? from[i] : 0.0f;
  // As integers: magnitudes of floats compare alike, and infinity and NaN are the largest.
  std::uint32_t largest = __float_as_uint(value) & kMagnitude;
  for (int d = kWarp / 2; d > 0; d /= 2) {
    const std::uint32_t other = __shfl_xor_sync(kAllLanes, largest, d);
    largest = other > largest ? other : largest;
  }
  constexpr float kSteps = 127.0f;
  // Below this 127 / largest would overflow, and the values are nothing beside any others.
  const std::uint32_t nothing = __float_as_uint(1e-36f);
  float scale = 0.0f, inverse = 0.0f;
  if (largest >= kInfinity) {
    scale = __uint_as_float(kInfinity | 0x400000u);  // NaN
  } else if (largest >= nothing) {
    scale = __uint_as_float(largest) / kSteps;
    inverse = kSteps / __uint_as_float(largest);
  }
  std::uint8_t* const at = to + block * kBlockBytes;
  if (lane == 0) *reinterpret_cast<float*>(at) = scale;
  if (i >= count) return;
  const float nearest = inverse == 0.0f ? 0.0f : rintf(value * inverse);
  at[sizeof(float) + lane] = static_cast<std::uint8_t>(static_cast<std::int8_t>(nearest));
}

__global__ void __launch_bounds__(kWarps* kWarp)
    decode_int8_kernel(const std::uint8_t* from, std::int64_t count, float* to, bool adds) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t i = std::int64_t{blockIdx.x} * (kWarps * kWarp) + threadIdx.x;
  if (i >= count) return;
  const std::uint8_t* const at = from + i / kBlock * kBlockBytes;
  const float scale = *reinterpret_cast<const float*>(at);
  const auto integer = static_cast<std::int8_t>(at[sizeof(float) + i % kBlock]);
  const float value = __fmul_rn(scale, static_cast<float>(integer));
  to[i] = adds ? __fadd_rn(to[i], value) : value;
}

Shape shape_of(std::int64_t count) {
  constexpr int kThreads = kWarps * kWarp;
  return {dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)), dim3(kThreads)};
}

}  // namespace

void encode(Wire wire, const float* from, std::int64_t count, void* to, const Queue& queue) {
  if (count == 0) return;
  if (wire == Wire::bf16) {
    launch(queue, "encode", shape_of(count), encode_bf16_kernel, from, count,
           static_cast<std::uint16_t*>(to));
  } else {
    launch(queue, "encode", shape_of(count), encode_int8_kernel, from, count,
           static_cast<std::uint8_t*>(to));
  }
}

void decode(Wire wire, const void* from, std::int64_t count, float* to, bool adds,
            const Queue& queue) {
  if (count == 0) return;
  if (wire == Wire::bf16) {
    launch(queue, "decode", shape_of(count), decode_bf16_kernel,
           static_cast<const std::uint16_t*>(from), count, to, adds);
  } else {
    launch(queue, "decode", shape_of(count), decode_int8_kernel,
           static_cast<const std::uint8_t*>(from), count, to, adds);
  }
}

}  // namespace spd::cuda
