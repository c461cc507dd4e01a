// The innermost product: a tile of C in registers; compiled once for each target.
#if defined(SPD_KERNELS_CPU_GEMM_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPD_KERNELS_CPU_GEMM_TILE_INL_H_
#undef SPD_KERNELS_CPU_GEMM_TILE_INL_H_
#else
#define SPD_KERNELS_CPU_GEMM_TILE_INL_H_
#endif

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {

// A tile is kTileRows x kTileCols. Its sums fill the registers but for two vectors of B and one of
// A: 12 of 16 with AVX2, 24 of 32 with AVX-512.
#if HWY_CAP_GE512
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif
constexpr int kTileCols = 2 * kLanes;

/// c[r][n] = (accumulate ? c[r][n] : 0) + sum over k of a[k * a_step + r * a_row] * b[k * b_step +
/// n] for r < kRows, n < kTileCols. Rows of c are c_stride apart.
template <int kRows>
HWY_INLINE void multiply_tile(const float* HWY_RESTRICT a, std::size_t a_step, std::size_t a_row,
                              const float* HWY_RESTRICT b, std::size_t b_step, std::size_t depth,
                              float* HWY_RESTRICT c, std::size_t c_stride, bool accumulate) {
  const F32 d;
  Vec left[kRows], right[kRows];
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) left[r] = right[r] = hn::Zero(d);
  for (std::size_t k = 0; k < depth; ++k) {
    const Vec b0 = hn::LoadU(d, b), b1 = hn::LoadU(d, b + kLanes);
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const Vec ar = hn::Set(d, a[r * a_row]);
      left[r] = hn::MulAdd(ar, b0, left[r]);
      right[r] = hn::MulAdd(ar, b1, right[r]);
    }
    a += a_step;
    b += b_step;
  }
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    float* row = c + r * c_stride;
    if (accumulate) {
      left[r] = hn::Add(left[r], hn::LoadU(d, row));
      right[r] = hn::Add(right[r], hn::LoadU(d, row + kLanes));
    }
    hn::StoreU(left[r], d, row);
    hn::StoreU(right[r], d, row + kLanes);
  }
}

using Four = hn::FixedTag<float, 4>;
using Vec4 = hn::Vec<Four>;

/// Turns four rows of four into four columns.
HWY_INLINE void transpose(Vec4& a, Vec4& b, Vec4& c, Vec4& e) {
  const Four d;
  const hn::Repartition<double, Four> d64;
  const auto ab0 = hn::BitCast(d64, hn::InterleaveLower(d, a, b));
  const auto ab1 = hn::BitCast(d64, hn::InterleaveUpper(d, a, b));
  const auto ce0 = hn::BitCast(d64, hn::InterleaveLower(d, c, e));
  const auto ce1 = hn::BitCast(d64, hn::InterleaveUpper(d, c, e));
  a = hn::BitCast(d, hn::InterleaveLower(d64, ab0, ce0));
  b = hn::BitCast(d, hn::InterleaveUpper(d64, ab0, ce0));
  c = hn::BitCast(d, hn::InterleaveLower(d64, ab1, ce1));
  e = hn::BitCast(d, hn::InterleaveUpper(d64, ab1, ce1));
}

/// Four elements as f32.
template <DType type>
HWY_INLINE Vec4 load_four(const Element<type>* from) {
  const Four d;
  if constexpr (type == DType::f32) {
    return hn::LoadU(d, from);
  } else if constexpr (type == DType::bf16) {
    const hn::Rebind<std::uint16_t, Four> d16;
    const hn::RebindToUnsigned<Four> d32;
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, from))));
  } else if constexpr (type == DType::i8) {
    const hn::Rebind<std::int8_t, Four> d8;
    const hn::RebindToSigned<Four> d32;
    return hn::ConvertTo(d, hn::PromoteTo(d32, hn::LoadU(d8, from)));
  } else {
    const hn::Rebind<std::uint16_t, Four> d16;
    const hn::Rebind<hwy::float16_t, Four> half;
    return hn::PromoteTo(d, hn::BitCast(half, hn::LoadU(d16, from)));
  }
}

/// Packs `count` <= kTileCols rows of `depth` elements (`stride` apart) as one panel: out[k][n] =
/// row n, element k, zero for n >= count. Reads `depth` elements of a row, no more.
template <DType type>
HWY_INLINE void pack_panel(const Element<type>* rows, std::size_t stride, int count,
                           std::size_t depth, float* HWY_RESTRICT out) {
  const Four d;
  for (int n = 0; n < kTileCols; n += 4) {
    const int have = count - n < 4 ? count - n : 4;
    if (have <= 0) {
      for (std::size_t k = 0; k < depth; ++k) hn::StoreU(hn::Zero(d), d, out + k * kTileCols + n);
      continue;
    }
    const Element<type>* row = rows + n * stride;
    // Rows that are not there repeat the first, and are set to zero below.
    const Element<type>* row1 = have > 1 ? row + stride : row;
    const Element<type>* row2 = have > 2 ? row + 2 * stride : row;
    const Element<type>* row3 = have > 3 ? row + 3 * stride : row;
    std::size_t k = 0;
    for (; k + 4 <= depth; k += 4) {
      Vec4 v0 = load_four<type>(row + k), v1 = load_four<type>(row1 + k);
      Vec4 v2 = load_four<type>(row2 + k), v3 = load_four<type>(row3 + k);
      transpose(v0, v1, v2, v3);
      float* to = out + k * kTileCols + n;
      hn::StoreU(v0, d, to);
      hn::StoreU(v1, d, to + kTileCols);
      hn::StoreU(v2, d, to + 2 * kTileCols);
      hn::StoreU(v3, d, to + 3 * kTileCols);
    }
    for (; k < depth; ++k) {
      const Element<type>* all[] = {row + k, row1 + k, row2 + k, row3 + k};
      for (int i = 0; i < 4; ++i) {
        HWY_ALIGN Element<type> padded[4] = {*all[i]};
        out[k * kTileCols + n + i] = hn::GetLane(load_four<type>(padded));
      }
    }
    for (int i = have; i < 4; ++i) {
      for (k = 0; k < depth; ++k) out[k * kTileCols + n + i] = 0.0f;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#endif  // SPD_KERNELS_CPU_GEMM_TILE_INL_H_
