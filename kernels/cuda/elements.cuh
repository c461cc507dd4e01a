// Elements of weights and caches in 16-byte vectors, and what happens to a product.
#pragma once

#include "kernels/cuda/language.cuh"
#include "kernels/cuda/rows.h"

namespace spd::cuda {

/// kCount: elements in 16 bytes.
template <DType kType>
struct Elements;

template <>
struct Elements<DType::f32> {
  using Type = float;
  static constexpr int kCount = 4;
  __device__ static void unpack(uint4 raw, float (&out)[kCount]) {
    out[0] = __uint_as_float(raw.x);
    out[1] = __uint_as_float(raw.y);
    out[2] = __uint_as_float(raw.z);
    out[3] = __uint_as_float(raw.w);
  }
  __device__ static float load(const Type* from) { return *from; }
  __device__ static void store(Type* to, float value) { *to = value; }
};

template <>
struct Elements<DType::bf16> {
  using Type = __nv_bfloat16;
  static constexpr int kCount = 8;
  __device__ static void unpack(uint4 raw, float (&out)[kCount]) {
    const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = __uint_as_float(words[i] << 16);
      out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  }
  __device__ static float load(const Type* from) { return __bfloat162float(*from); }
  __device__ static void store(Type* to, float value) { *to = __float2bfloat16(value); }
};

template <>
struct Elements<DType::f16> {
  using Type = __half;
  static constexpr int kCount = 8;
  __device__ static float half_at(std::uint32_t word, int upper) {
    __half_raw raw;
    raw.x = static_cast<unsigned short>(upper != 0 ? word >> 16 : word);
    return __half2float(__half(raw));
  }
  __device__ static void unpack(uint4 raw, float (&out)[kCount]) {
    const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = half_at(words[i], 0);
      out[2 * i + 1] = half_at(words[i], 1);
    }
  }
  __device__ static float load(const Type* from) { return __half2float(*from); }
  __device__ static void store(Type* to, float value) { *to = __float2half(value); }
};

template <>
struct Elements<DType::i8> {
  using Type = std::int8_t;
  static constexpr int kCount = 16;
  __device__ static void unpack(uint4 raw, float (&out)[kCount]) {
    const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>(static_cast<std::int8_t>(words[i / 4] >> (i % 4 * 8)));
    }
  }
};

__device__ inline std::uint16_t bits_of(__nv_bfloat16 value) {
  return static_cast<__nv_bfloat16_raw>(value).x;
}
__device__ inline std::uint16_t bits_of(__half value) { return static_cast<__half_raw>(value).x; }

/// out[i] = from[first + i], zero beyond `count`. `aligned`: `from` starts a 16-byte vector.
template <int kCount>
__device__ inline void load_floats(const float* from, int first, int count, bool aligned,
                                   float (&out)[kCount]) {
  static_assert(kCount % 4 == 0);
  if (aligned && first + kCount <= count) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + first + i);
      out[i] = four.x;
      out[i + 1] = four.y;
      out[i + 2] = four.z;
      out[i + 3] = four.w;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) out[i] = first + i < count ? from[first + i] : 0.0f;
}

/// Before a gated product's other half is multiplied in.
__device__ inline float activated(Epilogue epilogue, float x) {
  switch (epilogue) {
    case Epilogue::none:
      return x;
    case Epilogue::relu:
      return fmaxf(x, 0.0f);
    case Epilogue::gelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case Epilogue::gelu_tanh:
    case Epilogue::gated_gelu_tanh:
      return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case Epilogue::silu:
    case Epilogue::gated_silu:
      return x / (1.0f + expf(-x));
  }
  return x;
}

/// Writes one output. `product` is weight row `o`'s; `other_half`, where gated, that of row
/// `outputs
/// + o`.
__device__ inline void store_product(const Finish& finish, std::int64_t token, int o, int outputs,
                                     float product, float other_half) {
  const Epilogue epilogue = finish.epilogue;
  const bool gated = epilogue == Epilogue::gated_silu || epilogue == Epilogue::gated_gelu_tanh;
  float value = activated(epilogue, finish.bias ? product + finish.bias[o] : product);
  if (gated) value *= finish.bias ? other_half + finish.bias[outputs + o] : other_half;
  if (finish.plus_a.data) value += finish.plus_a[token][o] + finish.plus_b[token][o];
  float* const to = finish.y[token] + o;
  *to = finish.accumulate ? *to + value : value;
}

}  // namespace spd::cuda
