// The dialect that kernels are written in: CUDA, with a few words of our own, so that nvcc compiles
// them for GPUs and the host compiler for tests/cuda_emulation. Shared memory is declared by
// SPD_SHARED(type, name, count) or SPD_DYNAMIC_SHARED(type, name); flags between blocks or devices
// go through load_acquire and store_release only.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#if defined(__CUDACC__)

#define SPD_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define SPD_DYNAMIC_SHARED(type, name)                                \
  extern __shared__ __align__(16) unsigned char spd_dynamic_shared[]; \
  type* const name = reinterpret_cast<type*>(spd_dynamic_shared)

namespace spd::cuda {

__device__ inline std::uint32_t load_acquire(const std::uint32_t* flag) {
  std::uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
  return value;
}

__device__ inline void store_release(std::uint32_t* flag, std::uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}

/// d += a * b for bf16, one 16 x 8 x 16 tile a warp (PTX ISA, mma.m16n8k16).
__device__ inline void multiply_tile(float (&d)[4], const std::uint32_t (&a)[4],
                                     const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// The same for f16.
__device__ inline void multiply_tile_f16(float (&d)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// What precedes this launch in its stream is done, and its results are visible. Before it a kernel
/// may only read what no recent kernel writes: weights.
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// The next kernel of the stream may begin, up to its own wait_for_previous().
__device__ inline void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" :::);
#endif
}

/// 16 bytes of weights, which are read once a step: they are not to displace the activations. Kept
/// where it stands, so that loads are under way before the wait for the previous kernel.
__device__ inline uint4 load_weights(const void* from) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from));
  return value;
}

}  // namespace spd::cuda

#else

#include <device_language.h>  // of tests/cuda_emulation

namespace spd::cuda {

inline std::uint32_t load_acquire(const std::uint32_t* flag, SPD_PLACE) {
  return ::cuda_emulation::acquire(flag, {file, line});
}
inline void store_release(std::uint32_t* flag, std::uint32_t value) {
  ::cuda_emulation::release(flag, value);
}
inline void multiply_tile(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                          SPD_PLACE) {
  ::cuda_emulation::multiply_tile({d, a, b, false}, {file, line});
}
inline void multiply_tile_f16(float (&d)[4], const std::uint32_t (&a)[4],
                              const std::uint32_t (&b)[2], SPD_PLACE) {
  ::cuda_emulation::multiply_tile({d, a, b, true}, {file, line});
}
inline void wait_for_previous() { ::cuda_emulation::dependency_wait(); }
inline void let_next_begin() {}
inline uint4 load_weights(const void* from) { return *static_cast<const uint4*>(from); }

}  // namespace spd::cuda

#endif

namespace spd::cuda {

inline constexpr int kWarp = 32;
inline constexpr std::uint32_t kAllLanes = 0xffffffffu;

/// In every lane.
__device__ inline float warp_sum(float value) {
#if defined(SPD_CUDA_EMULATION_FAST)
  return ::cuda_emulation::from_bits<float>(
      ::cuda_emulation::meet(::cuda_emulation::Meeting::sum, kAllLanes,
                             ::cuda_emulation::to_bits(value), 0, {__FILE__, __LINE__}));
#else
  for (int d = kWarp / 2; d > 0; d /= 2) value += __shfl_xor_sync(kAllLanes, value, d);
  return value;
#endif
}

__device__ inline float warp_max(float value) {
#if defined(SPD_CUDA_EMULATION_FAST)
  return ::cuda_emulation::from_bits<float>(
      ::cuda_emulation::meet(::cuda_emulation::Meeting::max, kAllLanes,
                             ::cuda_emulation::to_bits(value), 0, {__FILE__, __LINE__}));
#else
  for (int d = kWarp / 2; d > 0; d /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, d));
  }
  return value;
#endif
}

/// Every exchange halves what a lane still has to add: of kLeft pairs it keeps one value each and
/// sends the other. By recursion, since an array that is indexed by a loop's variable would lie in
/// memory.
template <int kLeft, int kCount>
__device__ inline void halve_sums(float (&values)[kCount], int lane) {
  if constexpr (kLeft > 0) {
    constexpr int kDistance = kLeft * (kWarp / kCount);
    const bool upper = (lane & kDistance) != 0;
#pragma unroll
    for (int i = 0; i < kLeft; ++i) {
      const float kept = upper ? values[i + kLeft] : values[i];
      const float sent = upper ? values[i] : values[i + kLeft];
      values[i] = kept + __shfl_xor_sync(kAllLanes, sent, kDistance);
    }
    halve_sums<kLeft / 2>(values, lane);
  }
}

/// Sums of kCount values over the warp in fewer exchanges than kCount separate sums. Afterwards
/// values[0] of lane l is the sum of value l / (kWarp / kCount). kCount: a power of two up to
/// kWarp.
template <int kCount>
__device__ inline void warp_sums(float (&values)[kCount], int lane) {
#if defined(SPD_CUDA_EMULATION_FAST)
  if constexpr (kCount > 1) {
    ::cuda_emulation::sum_lanes(values, kCount, {__FILE__, __LINE__});
    return;
  }
#endif
  halve_sums<kCount / 2>(values, lane);
#pragma unroll
  for (int d = kWarp / kCount / 2; d > 0; d /= 2) {
    values[0] += __shfl_xor_sync(kAllLanes, values[0], d);
  }
}

/// Sum over the threads of a block, in every thread. `partial` is shared memory of one float a
/// warp, which nobody else uses until the next barrier.
__device__ inline float block_sum(float value, float* partial) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = warp_sum(value);
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  float sum = 0.0f;
  for (int w = 0; w < warps; ++w) sum += partial[w];
  __syncthreads();
  return sum;
}

}  // namespace spd::cuda
