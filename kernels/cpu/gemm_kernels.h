// The pieces of a blocked product of many tokens with a weight.
//
// x is packed in tiles of `tile_rows` tokens, [depth][tile_rows], the weight in panels of
// `tile_cols` outputs, [depth][tile_cols], so that the innermost loop reads both in sequence. A
// packed cell is four bytes: one f32, or two consecutive bf16 where the processor multiplies those.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/operators.h"

namespace spd {

/// A block of the product: c[t][n] (+)= sum over the cells of a tile and a panel.
struct GemmBlock {
  const float* a = nullptr;  ///< the first tile's first cell of this block
  std::size_t a_tile = 0;    ///< cells from tile to tile
  std::int64_t rows = 0;     ///< tokens, a multiple of tile_rows
  const float* b = nullptr;  ///< [panels][depth][tile_cols]
  std::int64_t panels = 0;
  std::size_t depth = 0;     ///< cells
  float* c = nullptr;        ///< [rows][c_stride]
  std::size_t c_stride = 0;  ///< >= panels * tile_cols
  bool accumulate = false;   ///< add to what is in c
};

/// One instruction set's kernels.
struct GemmKernels {
  int tile_rows = 0;
  int tile_cols = 0;
  int per_cell = 1;    ///< elements in a cell
  int depth_unit = 1;  ///< cells that depths are a multiple of; a weight's rows have zeros for it
  /// Packs `count` <= tile_rows rows of x[cols], `stride` apart, zeros for the others.
  void (*pack_x)(const float* x, std::size_t stride, int count, std::size_t cols, float* out);
  /// Packs elements [first, first + count) of `rows` weight rows from `row` on, in panels; the last
  /// is filled up with zeros. first and count: multiples of per_cell within the weight's stride.
  void (*pack_weight)(const Weight& weight, std::int64_t row, std::int64_t rows, std::size_t first,
                      std::size_t count, float* out);
  /// The packing itself: `count` cells of each of `rows` rows, `stride` cells apart.
  void (*pack_cells)(const float* from, std::size_t stride, std::int64_t rows, std::size_t count,
                     float* out);
  void (*multiply)(const GemmBlock& block);
};

/// Cells of the depth of a product over `cols` elements.
inline std::size_t packed_depth(const GemmKernels& kernels, std::size_t cols) {
  const std::size_t unit = kernels.per_cell * kernels.depth_unit;
  return (cols + unit - 1) / unit * kernels.depth_unit;
}

/// Cells that a packed tile takes, with what pack_x may write beyond its end.
inline std::size_t packed_tile_cells(const GemmKernels& kernels, std::size_t cols) {
  constexpr std::size_t kLine = 16;
  const std::size_t cells = packed_depth(kernels, cols) * kernels.tile_rows;
  return (cells + 4 + kLine - 1) / kLine * kLine;
}

/// f32 arithmetic, for every type of weight.
const GemmKernels& f32_gemm_kernels();
/// Products of bf16 pairs, for bf16 weights: x is rounded to bf16, sums stay f32. Null where the
/// processor does not have them.
const GemmKernels* bf16_gemm_kernels();
/// The same in the processor's tile registers. Null where it or the kernel does not have them.
const GemmKernels* tile_gemm_kernels();
/// The fastest there are for a weight of this type, of those that are allowed.
const GemmKernels& best_gemm_kernels(DType weight, MatmulMode allowed);

}  // namespace spd
