// The innermost product in pairs of bf16, for processors that multiply those (AVX-512-BF16).
//
// In intrinsics, since Highway 1.0 has no target with these instructions. Each step multiplies two
// elements of x and of the weight, adds both products in f32 and so does twice the work of an f32
// multiply-add. x is rounded to bf16 on the way in (to nearest even, 2^-9 relative); the weight is
// bf16 anyway and sums stay f32.
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_kernels.h"

#if defined(__x86_64__)

#include <hwy/base.h>
#include <immintrin.h>

#include "kernels/cpu/round_pairs.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
namespace spd {
namespace {

constexpr int kLanes = 16;
constexpr int kTileRows = 12;  // 24 of 32 registers are sums
constexpr int kTileCols = 2 * kLanes;
constexpr std::size_t kChunk = 64;  // cells that are rounded at a time

void pack_x_pairs(const float* x, std::size_t stride, int count, std::size_t cols, float* out) {
  alignas(64) float cells[kTileRows * kChunk];
  for (std::size_t first = 0; first < cols; first += 2 * kChunk) {
    const std::size_t have = cols - first < 2 * kChunk ? cols - first : 2 * kChunk;
    for (int r = 0; r < count; ++r) {
      for (std::size_t i = 0; i < have; i += 32) {
        _mm512_storeu_si512(cells + r * kChunk + i / 2,
                            round_pairs(x + r * stride + first + i, have - i));
      }
    }
    f32_gemm_kernels().pack_x(cells, kChunk, count, (have + 1) / 2, out + first / 2 * kTileRows);
  }
}

// 16 of i8 as f32.
inline __m512 widened(__m128i bytes, __m512 scale) {
  constexpr __mmask16 kAll = 0xffff;  // GCC 12 warns of the plain forms' undefined source
  const __m512i integers = _mm512_maskz_cvtepi8_epi32(kAll, bytes);
  return _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(kAll, integers), scale);
}

// Pairs of bf16 of up to 32 elements of i8, zeros beyond `count`.
inline __m512i widened_pairs(const std::int8_t* from, std::size_t count, float scale) {
  const auto mask = static_cast<__mmask32>(count >= 32 ? ~0u : (1u << count) - 1);
  const __m256i bytes = _mm256_maskz_loadu_epi8(mask, from);
  const __m512 low = widened(_mm256_castsi256_si128(bytes), _mm512_set1_ps(scale));
  const __m512 high = widened(_mm256_extracti128_si256(bytes, 1), _mm512_set1_ps(scale));
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

void pack_i8_pairs(const Weight& weight, std::int64_t row, std::int64_t rows, std::size_t first,
                   std::size_t count, float* out) {
  alignas(64) float cells[kTileCols * kChunk];
  const float* scales = weight.scales.as<const float>() + row;
  for (std::int64_t n = 0; n < rows; n += kTileCols) {
    const std::int64_t have = rows - n < kTileCols ? rows - n : kTileCols;
    float* panel = out + n * static_cast<std::int64_t>(count / 2);
    for (std::size_t i = 0; i < count; i += 2 * kChunk) {
      const std::size_t some = count - i < 2 * kChunk ? count - i : 2 * kChunk;
      const auto* from = weight.storage.as<const std::int8_t>() + (row + n) * weight.stride;
      for (std::int64_t r = 0; r < have; ++r, from += weight.stride) {
        for (std::size_t j = 0; j < some; j += 32) {
          _mm512_store_si512(cells + r * kChunk + j / 2,
                             widened_pairs(from + first + i + j, some - j, scales[n + r]));
        }
      }
      f32_gemm_kernels().pack_cells(cells, kChunk, have, some / 2, panel + i / 2 * kTileCols);
    }
  }
}

// A bf16 row is a row of cells as it stands.
void pack_weight_pairs(const Weight& weight, std::int64_t row, std::int64_t rows, std::size_t first,
                       std::size_t count, float* out) {
  if (weight.dtype == DType::i8) {
    pack_i8_pairs(weight, row, rows, first, count, out);
    return;
  }
  const std::size_t stride = static_cast<std::size_t>(weight.stride) / 2;
  f32_gemm_kernels().pack_cells(weight.storage.as<const float>() + row * stride + first / 2, stride,
                                rows, count / 2, out);
}

void round_row(const float* from, std::size_t count, std::uint16_t* to) {
  std::size_t i = 0;
  for (; i + 32 <= count; i += 32) _mm512_storeu_si512(to + i, round_pairs(from + i, 32));
  if (i == count) return;
  const auto rest = static_cast<__mmask32>((1u << (count - i)) - 1);
  _mm512_mask_storeu_epi16(to + i, rest, round_pairs(from + i, count - i));
}

inline void multiply_tile(const float* a, const float* b, std::size_t depth, float* c,
                          std::size_t c_stride, bool accumulate) {
  __m512 left[kTileRows];
  __m512 right[kTileRows];
#pragma GCC unroll 12
  for (int r = 0; r < kTileRows; ++r) {
    left[r] = accumulate ? _mm512_loadu_ps(c + r * c_stride) : _mm512_setzero_ps();
    right[r] = accumulate ? _mm512_loadu_ps(c + r * c_stride + kLanes) : _mm512_setzero_ps();
  }
  for (std::size_t k = 0; k < depth; ++k) {
    const auto b0 = reinterpret_cast<__m512bh>(_mm512_loadu_ps(b));
    const auto b1 = reinterpret_cast<__m512bh>(_mm512_loadu_ps(b + kLanes));
#pragma GCC unroll 12
    for (int r = 0; r < kTileRows; ++r) {
      const auto pair = reinterpret_cast<__m512bh>(_mm512_set1_ps(a[r]));
      left[r] = _mm512_dpbf16_ps(left[r], pair, b0);
      right[r] = _mm512_dpbf16_ps(right[r], pair, b1);
    }
    a += kTileRows;
    b += kTileCols;
  }
#pragma GCC unroll 12
  for (int r = 0; r < kTileRows; ++r) {
    _mm512_storeu_ps(c + r * c_stride, left[r]);
    _mm512_storeu_ps(c + r * c_stride + kLanes, right[r]);
  }
}

void multiply_pairs(const GemmBlock& block) {
  for (std::int64_t p = 0; p < block.panels; ++p) {
    const float* b = block.b + p * block.depth * kTileCols;
    for (std::int64_t r = 0; r < block.rows; r += kTileRows) {
      multiply_tile(block.a + r / kTileRows * block.a_tile, b, block.depth,
                    block.c + r * block.c_stride + p * kTileCols, block.c_stride, block.accumulate);
    }
  }
}

}  // namespace
}  // namespace spd
HWY_POP_ATTRIBUTES

namespace spd {

void round_to_bf16(const float* from, std::size_t count, std::uint16_t* to) {
  round_row(from, count, to);
}

const GemmKernels* bf16_gemm_kernels() {
  static const GemmKernels kernels{.tile_rows = kTileRows,
                                   .tile_cols = kTileCols,
                                   .per_cell = 2,
                                   .pack_x = pack_x_pairs,
                                   .pack_weight = pack_weight_pairs,
                                   .pack_cells = f32_gemm_kernels().pack_cells,
                                   .multiply = multiply_pairs};
  static const bool usable = __builtin_cpu_supports("avx512bf16") != 0 &&
                             f32_gemm_kernels().tile_rows == kTileRows &&
                             f32_gemm_kernels().tile_cols == kTileCols;
  return usable ? &kernels : nullptr;
}

}  // namespace spd

#else

namespace spd {
void round_to_bf16(const float* from, std::size_t count, std::uint16_t* to) {
  convert(from, DType::f32, to, DType::bf16, count);
}
const GemmKernels* bf16_gemm_kernels() { return nullptr; }
}  // namespace spd

#endif
