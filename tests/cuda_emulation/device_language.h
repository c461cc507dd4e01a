// What a kernel's source sees in place of nvcc's built-ins when the host compiler reads it:
// indexes, shared memory, warp intrinsics, barriers, flags. NVIDIA's headers give types and
// prototypes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__
// To the host compiler a raw __shared__ would be a local variable of each thread.
#undef __shared__
#define __shared__ static_assert(false, "write SPD_SHARED");

namespace cuda_emulation {

struct Thread;

/// A place in a kernel's source, for reports.
struct Place {
  const char* file;
  unsigned line;
};

/// The one thread that runs now, in the whole process.
struct Now {
  Thread* thread;
  uint3 thread_index, block_index;
  dim3 block_dim, grid_dim;
  int lane;
};
extern Now now;

/// What the lanes of a warp meet for.
enum class Meeting : std::uint8_t { shuffle, ballot, sync, sum, max, sums, mma };

/// Returns when every lane of `mask` has come. What this lane gets: the value of lane `source`, the
/// votes, the sum or the largest of the floats.
std::uint64_t meet(Meeting kind, std::uint32_t mask, std::uint64_t value, int source, Place place);
void barrier(Place place);
/// This launch's programmatic dependency: waits for what is before it in the stream.
void dependency_wait();
void* shared_array(const void* key, std::size_t bytes, std::size_t align);
void* dynamic_shared();
std::uint32_t acquire(const std::uint32_t* flag, Place place);
void release(std::uint32_t* flag, std::uint32_t value);
/// One thread runs at a time, so that any of these is indivisible.
int atomic_add(int* to, int value);
unsigned atomic_add(unsigned* to, unsigned value);
float atomic_add(float* to, float value);

/// `count` sums over the warp: values[0] of lane l becomes the sum of value l / (32 / count).
void sum_lanes(float* values, int count, Place place);

struct MmaFragments {
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
  bool f16;  ///< bf16 otherwise
};
/// D += A B for 16-bit floats, m16n8k16, with the fragments of the PTX ISA.
void multiply_tile(const MmaFragments& mine, Place place);

template <class T>
std::uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
T shuffle(std::uint32_t mask, T value, int source, Place place) {
  return from_bits<T>(meet(Meeting::shuffle, mask, to_bits(value), source, place));
}

struct Launch {
  const char* name = "";
  const void* kernel = nullptr;
  dim3 grid, block;
  std::size_t shared = 0;
  bool programmatic = false;  ///< may begin before what precedes it in the stream has ended
  std::function<void()> body;
};
cudaError_t enqueue(cudaStream_t stream, Launch launch);

}  // namespace cuda_emulation

// NOLINTBEGIN(readability-identifier-naming,bugprone-macro-parentheses)
#define threadIdx (::cuda_emulation::now.thread_index)
#define blockIdx (::cuda_emulation::now.block_index)
#define blockDim (::cuda_emulation::now.block_dim)
#define gridDim (::cuda_emulation::now.grid_dim)

#define SPD_SHARED(type, name, count)                \
  static const char spd_key_of_##name = 0;           \
  type(&name)[count] = *static_cast<type(*)[count]>( \
      ::cuda_emulation::shared_array(&spd_key_of_##name, sizeof(type) * (count), 16))
#define SPD_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(::cuda_emulation::dynamic_shared())

// CUDA's names, as nvcc has them built in.
#define SPD_PLACE const char *file = __builtin_FILE(), unsigned line = __builtin_LINE()

inline void __syncthreads(SPD_PLACE) { cuda_emulation::barrier({file, line}); }
inline void __syncwarp(std::uint32_t mask = 0xffffffffu, SPD_PLACE) {
  cuda_emulation::meet(cuda_emulation::Meeting::sync, mask, 0, 0, {file, line});
}
template <class T>
T __shfl_sync(std::uint32_t mask, T value, int source, int width = 32, SPD_PLACE) {
  const int first = cuda_emulation::now.lane & ~(width - 1);
  return cuda_emulation::shuffle(mask, value, first + (source & (width - 1)), {file, line});
}
template <class T>
T __shfl_down_sync(std::uint32_t mask, T value, unsigned delta, int width = 32, SPD_PLACE) {
  const int lane = cuda_emulation::now.lane, end = (lane & ~(width - 1)) + width;
  const int source = lane + static_cast<int>(delta);
  return cuda_emulation::shuffle(mask, value, source < end ? source : lane, {file, line});
}
template <class T>
T __shfl_xor_sync(std::uint32_t mask, T value, int bits, int width = 32, SPD_PLACE) {
  const int lane = cuda_emulation::now.lane, end = (lane & ~(width - 1)) + width;
  const int source = lane ^ bits;
  return cuda_emulation::shuffle(mask, value, source < end ? source : lane, {file, line});
}
inline std::uint32_t __ballot_sync(std::uint32_t mask, int vote, SPD_PLACE) {
  return static_cast<std::uint32_t>(cuda_emulation::meet(cuda_emulation::Meeting::ballot, mask,
                                                         vote != 0 ? 1 : 0, 0, {file, line}));
}
inline void __threadfence() {}
inline void __threadfence_system() {}
inline int atomicAdd(int* to, int value) { return cuda_emulation::atomic_add(to, value); }
inline unsigned atomicAdd(unsigned* to, unsigned value) {
  return cuda_emulation::atomic_add(to, value);
}
inline float atomicAdd(float* to, float value) { return cuda_emulation::atomic_add(to, value); }

inline float __uint_as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline std::uint32_t __float_as_uint(float value) { return std::bit_cast<std::uint32_t>(value); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline int __popc(std::uint32_t bits) { return std::popcount(bits); }
// NOLINTEND(readability-identifier-naming,bugprone-macro-parentheses)
