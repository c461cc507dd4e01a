#include "kernels/cpu/gemm_kernels.h"

#include <algorithm>

#include "kernels/device/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include "kernels/cpu/gemm_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {

void PackX(const float* x, std::size_t stride, int count, std::size_t cols, float* out) {
  const Four d;
  const auto row = [&](int r) { return x + std::min(r, count - 1) * stride; };
  for (int r = 0; r < kTileRows; r += 4) {
    const float* r0 = row(r);
    const float* r1 = row(r + 1);
    const float* r2 = row(r + 2);
    const float* r3 = row(r + 3);
    if (r + 4 <= kTileRows) {
      std::size_t k = 0;
      for (; k + 4 <= cols; k += 4) {
        Vec4 v0 = hn::LoadU(d, r0 + k), v1 = hn::LoadU(d, r1 + k);
        Vec4 v2 = hn::LoadU(d, r2 + k), v3 = hn::LoadU(d, r3 + k);
        transpose(v0, v1, v2, v3);
        float* to = out + k * kTileRows + r;
        hn::StoreU(v0, d, to);
        hn::StoreU(v1, d, to + kTileRows);
        hn::StoreU(v2, d, to + 2 * kTileRows);
        hn::StoreU(v3, d, to + 3 * kTileRows);
      }
      for (; k < cols; ++k) {
        float* to = out + k * kTileRows + r;
        to[0] = r0[k];
        to[1] = r1[k];
        to[2] = r2[k];
        to[3] = r3[k];
      }
    } else {
      static_assert(kTileRows % 4 == 0 || kTileRows % 4 == 2);
      for (std::size_t k = 0; k < cols; ++k) {
        out[k * kTileRows + r] = r0[k];
        out[k * kTileRows + r + 1] = r1[k];
      }
    }
  }
}

template <DType type>
void pack_panels(const Element<type>* from, std::size_t stride, std::int64_t rows,
                 std::size_t count, float* out) {
  for (std::int64_t n = 0; n < rows; n += kTileCols) {
    const int have = static_cast<int>(std::min<std::int64_t>(kTileCols, rows - n));
    pack_panel<type>(from + n * stride, stride, have, count, out + n * count);
  }
}

template <DType type>
void pack_weight(const Weight& weight, std::int64_t row, std::int64_t rows, std::size_t first,
                 std::size_t count, float* out) {
  pack_panels<type>(weight.storage.as<const Element<type>>() + row * weight.stride + first,
                    weight.stride, rows, count, out);
}

// Multiplies each row of packed panels by its scale.
void scale_panels(const float* scales, std::int64_t rows, std::size_t count, float* out) {
  for (std::int64_t n = 0; n < rows; n += kTileCols) {
    HWY_ALIGN float own[kTileCols] = {};
    std::copy_n(scales + n, std::min<std::int64_t>(kTileCols, rows - n), own);
    float* panel = out + n * count;
    for (std::size_t k = 0; k < count; ++k, panel += kTileCols) {
      for (int i = 0; i < kTileCols; ++i) panel[i] *= own[i];
    }
  }
}

void PackWeight(const Weight& weight, std::int64_t row, std::int64_t rows, std::size_t first,
                std::size_t count, float* out) {
  switch (weight.dtype) {
    case DType::f32:
      return pack_weight<DType::f32>(weight, row, rows, first, count, out);
    case DType::bf16:
      return pack_weight<DType::bf16>(weight, row, rows, first, count, out);
    case DType::f16:
      return pack_weight<DType::f16>(weight, row, rows, first, count, out);
    case DType::i8:
      pack_weight<DType::i8>(weight, row, rows, first, count, out);
      return scale_panels(weight.scales.as<const float>() + row, rows, count, out);
  }
}

void Multiply(const GemmBlock& block) {
  // A panel of B stays in the first-level cache for all tiles of A, which come from the second.
  for (std::int64_t p = 0; p < block.panels; ++p) {
    const float* b = block.b + p * block.depth * kTileCols;
    for (std::int64_t r = 0; r < block.rows; r += kTileRows) {
      multiply_tile<kTileRows>(block.a + r / kTileRows * block.a_tile, kTileRows, 1, b, kTileCols,
                               block.depth, block.c + r * block.c_stride + p * kTileCols,
                               block.c_stride, block.accumulate);
    }
  }
}

GemmKernels Kernels() {
  return {.tile_rows = kTileRows,
          .tile_cols = kTileCols,
          .per_cell = 1,
          .pack_x = PackX,
          .pack_weight = PackWeight,
          .pack_cells = pack_panels<DType::f32>,
          .multiply = Multiply};
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spd {

HWY_EXPORT(Kernels);

const GemmKernels& f32_gemm_kernels() {
  static const GemmKernels kernels = HWY_DYNAMIC_DISPATCH(Kernels)();
  return kernels;
}

const GemmKernels& best_gemm_kernels(DType weight, MatmulMode allowed) {
  const GemmKernels* best = nullptr;
  if (weight == DType::bf16 || weight == DType::i8) {
    if (allowed >= MatmulMode::bf16_tiles) best = tile_gemm_kernels();
    if (!best && allowed >= MatmulMode::bf16_pairs) best = bf16_gemm_kernels();
  }
  return best ? *best : f32_gemm_kernels();
}

}  // namespace spd
#endif  // HWY_ONCE
