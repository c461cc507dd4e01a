// The innermost product in the processor's tile registers (Intel AMX-BF16): 16 x 16 sums, 32
// elements deep, at a time.
//
// The weight is packed as for pairs of bf16: 16 of a panel's rows of cells are a tile as it stands.
// x is rounded to bf16 on the way in and laid out in tiles, [depth / 16][32 tokens][16 cells]. Sums
// stay f32. Intel's Architecture Instruction Set Extensions Reference (319433), chapter 3,
// describes the instructions; the kernel's Documentation/arch/x86/xstate.rst how to ask for them.
#include "kernels/cpu/gemm_kernels.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <hwy/base.h>

#include "kernels/cpu/round_pairs.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")
namespace spd {
namespace {

constexpr int kSide = 16;  // rows of a tile; cells or sums of a row
constexpr int kTileRows = 2 * kSide;
constexpr int kTileCols = 2 * kSide;

// As the ldtilecfg instruction reads it.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {kSide, kSide, kSide, kSide, kSide, kSide, kSide, kSide};
};
static_assert(sizeof(TileShapes) == 64);

void pack_x_tiles(const float* x, std::size_t stride, int count, std::size_t cols, float* out) {
  for (std::size_t first = 0; first < cols; first += 2 * kSide, out += kTileRows * kSide) {
    for (int r = 0; r < kTileRows; ++r) {
      // Rows that are not there repeat the last: nobody looks at their sums.
      const float* from = x + (r < count ? r : count - 1) * stride + first;
      _mm512_storeu_si512(out + r * kSide, round_pairs(from, cols - first));
    }
  }
}

// `depth` cells, a multiple of kSide.
inline void multiply_tiles(const float* a, const float* b, std::size_t depth, float* c,
                           std::size_t c_stride, bool accumulate) {
  constexpr int kRowBytes = kSide * sizeof(float);
  const auto stride = static_cast<int>(c_stride * sizeof(float));
  float* below = c + kSide * c_stride;
  if (accumulate) {
    _tile_loadd(0, c, stride);
    _tile_loadd(1, c + kSide, stride);
    _tile_loadd(2, below, stride);
    _tile_loadd(3, below + kSide, stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (std::size_t k = 0; k < depth; k += kSide) {
    _tile_loadd(4, a, kRowBytes);
    _tile_loadd(6, b, 2 * kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kSide, 2 * kRowBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + kSide * kSide, kRowBytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    a += kTileRows * kSide;
    b += kSide * kTileCols;
  }
  _tile_stored(0, c, stride);
  _tile_stored(1, c + kSide, stride);
  _tile_stored(2, below, stride);
  _tile_stored(3, below + kSide, stride);
}

void multiply_blocks(const GemmBlock& block) {
  const TileShapes shapes;
  _tile_loadconfig(&shapes);
  for (std::int64_t p = 0; p < block.panels; ++p) {
    const float* b = block.b + p * block.depth * kTileCols;
    for (std::int64_t r = 0; r < block.rows; r += kTileRows) {
      multiply_tiles(block.a + r / kTileRows * block.a_tile, b, block.depth,
                     block.c + r * block.c_stride + p * kTileCols, block.c_stride,
                     block.accumulate);
    }
  }
  _tile_release();  // tiles in use make every switch of threads save 8 KiB more
}

}  // namespace
}  // namespace spd
HWY_POP_ATTRIBUTES

namespace spd {
namespace {

bool processor_has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kBf16) != 0 && (d & kTile) != 0;
}

// Tiles are larger than the state that the kernel keeps for a thread unless it is asked to.
bool kernel_grants_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

const GemmKernels* tile_gemm_kernels() {
  static const GemmKernels* const usable = []() -> const GemmKernels* {
    const GemmKernels* pairs = bf16_gemm_kernels();
    if (pairs == nullptr || pairs->tile_cols != kTileCols) return nullptr;
    if (!processor_has_tiles() || !kernel_grants_tiles()) return nullptr;
    static const GemmKernels kernels{.tile_rows = kTileRows,
                                     .tile_cols = kTileCols,
                                     .per_cell = 2,
                                     .depth_unit = kSide,
                                     .pack_x = pack_x_tiles,
                                     .pack_weight = pairs->pack_weight,
                                     .pack_cells = pairs->pack_cells,
                                     .multiply = multiply_blocks};
    return &kernels;
  }();
  return usable;
}

}  // namespace spd

#else

namespace spd {
const GemmKernels* tile_gemm_kernels() { return nullptr; }
}  // namespace spd

#endif
