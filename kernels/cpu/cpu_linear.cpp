#include "kernels/cpu/cpu_linear.h"

#include <algorithm>

#include "kernels/cpu/gemv_kernels.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/cpu/work_split.h"
#include "kernels/device/host_memory.h"

namespace spd {

namespace {

constexpr std::int64_t kChunk = 64;  // outputs that dot products finish at a time
constexpr std::int64_t kUnit = 4;    // outputs that slices of dot products are made of

// Tokens from which on packing the weight pays.
constexpr std::int64_t kBlockedFrom = 12;

// Blocking, for caches of 32 KiB and 512 KiB: a panel of kMostDepth cells takes 20 KiB of the first
// (AVX2); kColumns outputs and kRows tokens of that depth take 120 KiB of the second each.
constexpr std::int64_t kMostDepth = 320;
constexpr std::int64_t kColumns = 96;
constexpr std::int64_t kRows = 96;
// Tokens packed at a time, and the most that they may take.
constexpr std::int64_t kMostTokens = 516;
constexpr std::int64_t kMostPackedBytes = 8 << 20;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// What token t's outputs [n, n + count) of a product with addends start from.
void add_up(const LinearArgs& args, std::int64_t t, std::int64_t n, std::int64_t count,
            float* out) {
  sum_rows(args.plus.a.row(t) + n, args.plus.b.row(t) + n, count, out);
  if (args.bias) sum_rows(out, args.bias + n, count, out);
}

}  // namespace

/// What all threads agree upon for one pass over some tokens.
struct CpuLinear::Blocking {
  const GemmKernels& kernels;
  std::int64_t first = 0;  // token
  std::int64_t tokens = 0;
  std::int64_t cells = 0;    // depth of the whole product
  std::int64_t depth = 0;    // of a block
  std::int64_t columns = 0;  // of a block
  std::int64_t rows = 0;     // tokens of a block
  std::size_t tile = 0;      // cells from packed tile to packed tile
  float* packed_x = nullptr;

  std::int64_t padded_tokens() const { return round_up(tokens, kernels.tile_rows); }
};

void CpuLinear::run(const LinearArgs& args) {
  if (args.x.rows == 0 || args.weight->rows == 0) return;
  if (args.x.rows < kBlockedFrom || products_ == MatmulMode::f32_by_token) {
    run_dots(args);
    return;
  }
  run_blocked(args, best_gemm_kernels(args.weight->dtype, products_));
}

void CpuLinear::run_dots(const LinearArgs& args) {
  for (Scratch& scratch : scratch_) {
    // The arranged tokens, one normalised row, and a chunk of results of gate and up.
    scratch.reserve((kMaxDotTokens + 1) * args.weight->stride + 2 * kMaxDotTokens * kChunk);
  }
  pool_.run([&](int thread) { dot_tokens(args, thread); });
}

void CpuLinear::dot_tokens(const LinearArgs& args, int thread) {
  const Weight& w = *args.weight;
  float* arranged = scratch_[thread].data();
  float* normalised = arranged + kMaxDotTokens * w.stride;
  float* values = normalised + w.stride;

  for (std::int64_t t = 0; t < args.x.rows; t += kMaxDotTokens) {
    const int tokens = static_cast<int>(std::min<std::int64_t>(kMaxDotTokens, args.x.rows - t));
    // Every thread normalises the tokens itself: cheaper than waiting for another to do it.
    for (int i = 0; i < tokens; ++i) {
      const float* x = args.x.row(t + i);
      if (args.norm) {
        norm_row(x, w.cols, *args.norm, normalised);
        x = normalised;
      }
      arrange_for_dot(x, w.cols, w.dtype, w.stride, arranged + i * w.stride);
    }
    dot_outputs(args, thread, {.first = t, .count = tokens, .arranged = arranged}, values);
    if (args.side.weight) {
      dot_outputs(side_of(args), thread, {.first = t, .count = tokens, .arranged = arranged},
                  values);
    }
  }
}

void CpuLinear::dot_outputs(const LinearArgs& args, int thread, const DotTokens& tokens,
                            float* values) {
  const Weight& w = *args.weight;
  const bool gated = is_gated(args.epilogue);
  const std::int64_t outputs = args.y.cols;
  const IndexRange mine = split_range(outputs, kUnit, thread, pool_.size());
  float* ups = values + kMaxDotTokens * kChunk;
  const DotOrder order =
      products_ == MatmulMode::f32_by_token ? DotOrder::by_token : DotOrder::fastest;
  for (std::int64_t n = mine.begin; n < mine.end; n += kChunk) {
    const std::int64_t count = std::min(kChunk, mine.end - n);
    dot_rows(w, n, count, tokens.arranged, tokens.count, values, kChunk, order);
    if (gated) dot_rows(w, outputs + n, count, tokens.arranged, tokens.count, ups, kChunk, order);
    for (int i = 0; i < tokens.count; ++i) {
      float* y = args.y.row(tokens.first + i) + n;
      if (args.plus.given()) add_up(args, tokens.first + i, n, count, y);
      const float* bias = args.bias && !args.plus.given() ? args.bias + n : nullptr;
      finish_row({.epilogue = args.epilogue,
                  .accumulate = args.accumulate || args.plus.given(),
                  .value = values + i * kChunk,
                  .bias = bias,
                  .up = ups + i * kChunk,
                  .up_bias = bias ? bias + outputs : nullptr,
                  .y = y,
                  .count = static_cast<std::size_t>(count)});
    }
  }
}

void CpuLinear::run_blocked(const LinearArgs& args, const GemmKernels& kernels) {
  const Weight& w = *args.weight;
  Blocking blocking{.kernels = kernels};
  blocking.cells = static_cast<std::int64_t>(packed_depth(kernels, w.cols));
  const std::int64_t blocks = (blocking.cells + kMostDepth - 1) / kMostDepth;
  blocking.depth = round_up((blocking.cells + blocks - 1) / blocks, kernels.depth_unit);
  // Two halves where gated, each of whole panels. What is shallow takes more of them, so that its
  // rows are read in long pieces, and fewer tokens.
  const std::int64_t panels = 2 * kernels.tile_cols;
  blocking.columns = std::max(round_up(kColumns, panels),
                              kColumns * kMostDepth / blocking.depth / panels * panels);
  blocking.columns = std::min(blocking.columns, round_up(w.rows, panels));
  blocking.rows = round_up(kRows * kColumns / blocking.columns, kernels.tile_rows);
  blocking.tile = packed_tile_cells(kernels, w.cols);

  const std::int64_t tile_bytes = static_cast<std::int64_t>(blocking.tile * sizeof(float));
  const std::int64_t most =
      std::clamp(kMostPackedBytes / tile_bytes * kernels.tile_rows, std::int64_t{kernels.tile_rows},
                 round_up(kMostTokens, kernels.tile_rows));
  const std::int64_t passes = (args.x.rows + most - 1) / most;
  const std::int64_t tokens = round_up((args.x.rows + passes - 1) / passes, kernels.tile_rows);
  blocking.packed_x = packed_x_.reserve(tokens / kernels.tile_rows * blocking.tile);
  for (Scratch& scratch : scratch_) {
    // Normalised rows of a tile; or a packed block of the weight and the block's results.
    scratch.reserve(
        std::max(kernels.tile_rows * w.cols, blocking.columns * (blocking.depth + tokens)));
  }
  for (std::int64_t t = 0; t < args.x.rows; t += tokens) {
    blocking.first = t;
    blocking.tokens = std::min(tokens, args.x.rows - t);
    pool_.run([&](int thread) {
      pack_x(args, blocking, thread);
      pool_.barrier();
      multiply(args, blocking, thread);
      if (args.side.weight) multiply(side_of(args), blocking, thread);
    });
  }
}

void CpuLinear::pack_x(const LinearArgs& args, const Blocking& blocking, int thread) {
  const int unit = blocking.kernels.tile_rows;
  const std::int64_t cols = args.x.cols;
  const IndexRange mine = split_range(blocking.tokens, unit, thread, pool_.size());
  float* normalised = scratch_[thread].data();
  for (std::int64_t t = mine.begin; t < mine.end; t += unit) {
    const int count = static_cast<int>(std::min<std::int64_t>(unit, mine.end - t));
    ConstActivations x = args.x.row_range(blocking.first + t, count);
    if (args.norm) {
      for (int i = 0; i < count; ++i) {
        norm_row(x.row(i), cols, *args.norm, normalised + i * cols);
      }
      x = ConstActivations(normalised, count, cols);
    }
    blocking.kernels.pack_x(x.data, x.stride, count, cols,
                            blocking.packed_x + t / unit * blocking.tile);
  }
}

/// Outputs [n, n + count) of a pass, on one thread. Where results are what the kernels write, whole
/// tiles go where they belong. All others are added up in the same order in memory of the thread's
/// own, lest a result depend on the tokens and threads around it.
struct CpuLinear::OutputBlock {
  const LinearArgs& args;
  const Blocking& blocking;
  float* packed;   // the weight's rows of these outputs, [columns, depth]
  float* results;  // [tokens, columns]
  std::int64_t n;
  std::int64_t count;
  std::int64_t padded;   // count in whole tiles
  std::int64_t columns;  // padded; gated: gate and up, one after the other
  std::int64_t direct;   // tokens whose results go straight to y
  bool started;          // whether results begin with what the product is added to

  OutputBlock(const LinearArgs& product, const Blocking& pass, float* memory, std::int64_t first,
              std::int64_t outputs)
      : args(product),
        blocking(pass),
        packed(memory),
        results(memory + pass.columns * pass.depth),
        n(first),
        count(outputs),
        padded(round_up(outputs, pass.kernels.tile_cols)),
        columns(is_gated(product.epilogue) ? 2 * padded : padded) {
    const bool plain = args.epilogue == Epilogue::none && (summed() || !args.bias);
    direct = plain && count == padded
                 ? blocking.tokens / blocking.kernels.tile_rows * blocking.kernels.tile_rows
                 : 0;
    started = plain && (args.accumulate || summed());
  }

  bool summed() const { return args.plus.given(); }

  /// Puts into results what the product is added to.
  void start() const {
    for (std::int64_t t = direct; started && t < blocking.tokens; ++t) {
      float* row = results + t * columns;
      if (summed()) {
        add_up(args, blocking.first + t, n, count, row);
      } else {
        std::copy_n(args.y.row(blocking.first + t) + n, count, row);
      }
      std::fill_n(row + count, padded - count, 0.0f);
    }
  }

  /// Cells [k, k + depth) of the product, for all tokens.
  void multiply(std::int64_t k, std::int64_t depth) const {
    const GemmKernels& kernels = blocking.kernels;
    const std::int64_t first = k * kernels.per_cell, elements = depth * kernels.per_cell;
    kernels.pack_weight(*args.weight, n, count, first, elements, packed);
    if (columns > padded) {
      kernels.pack_weight(*args.weight, args.y.cols + n, count, first, elements,
                          packed + padded * depth);
    }
    for (std::int64_t t = 0; t < blocking.tokens; t += blocking.rows) {
      GemmBlock block{
          .a = blocking.packed_x + t / kernels.tile_rows * blocking.tile + k * kernels.tile_rows,
          .a_tile = blocking.tile,
          .rows = std::min(blocking.rows, blocking.padded_tokens() - t),
          .b = packed,
          .panels = columns / kernels.tile_cols,
          .depth = static_cast<std::size_t>(depth),
          .c = results + t * columns,
          .c_stride = static_cast<std::size_t>(columns),
          .accumulate = k > 0 || started};
      if (const std::int64_t rows = std::clamp(direct - t, std::int64_t{0}, block.rows)) {
        multiply_direct(block, t, rows, k == 0);
        block.a += rows / kernels.tile_rows * blocking.tile;
        block.c += rows * columns;
        block.rows -= rows;
      }
      if (block.rows > 0) kernels.multiply(block);
    }
  }

  void multiply_direct(GemmBlock block, std::int64_t t, std::int64_t rows, bool first) const {
    block.rows = rows;
    block.c = args.y.row(blocking.first + t) + n;
    block.c_stride = args.y.stride;
    // Just before the product, which finds it in the cache.
    for (std::int64_t i = t; first && summed() && i < t + rows; ++i) {
      add_up(args, blocking.first + i, n, count, args.y.row(blocking.first + i) + n);
    }
    blocking.kernels.multiply(block);
  }

  /// Takes results to y through the epilogue.
  void finish() const {
    const float* bias = args.bias && !summed() ? args.bias + n : nullptr;
    for (std::int64_t t = direct; t < blocking.tokens; ++t) {
      finish_row({.epilogue = args.epilogue,
                  .accumulate = args.accumulate && !started,
                  .value = results + t * columns,
                  .bias = bias,
                  .up = results + t * columns + padded,
                  .up_bias = bias ? bias + args.y.cols : nullptr,
                  .y = args.y.row(blocking.first + t) + n,
                  .count = static_cast<std::size_t>(count)});
    }
  }
};

void CpuLinear::multiply(const LinearArgs& args, const Blocking& blocking, int thread) {
  const std::int64_t width = is_gated(args.epilogue) ? blocking.columns / 2 : blocking.columns;
  const IndexRange mine =
      split_range(args.y.cols, blocking.kernels.tile_cols, thread, pool_.size());
  for (std::int64_t n = mine.begin; n < mine.end; n += width) {
    const OutputBlock block(args, blocking, scratch_[thread].data(), n,
                            std::min(width, mine.end - n));
    block.start();
    for (std::int64_t k = 0; k < blocking.cells; k += blocking.depth) {
      block.multiply(k, std::min(blocking.depth, blocking.cells - k));
    }
    block.finish();
  }
}

}  // namespace spd
