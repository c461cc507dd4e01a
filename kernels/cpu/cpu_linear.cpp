#include "kernels/cpu/cpu_linear.h"

#include <algorithm>

#include "kernels/cpu/gemv_kernels.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/cpu/work_split.h"

namespace spd {

namespace {

constexpr std::int64_t kChunk = 64;  // outputs finished at a time
constexpr std::int64_t kUnit = 4;    // rows of a tile: what slices are made of

}  // namespace

void CpuLinear::run(const LinearArgs& args) {
  const Weight& w = *args.weight;
  if (args.x.rows == 0 || w.rows == 0) return;
  for (Scratch& scratch : scratch_) {
    // The arranged tokens, one normalised row, and a chunk of results of gate and up.
    scratch.reserve((kMaxDotTokens + 1) * w.stride + 2 * kMaxDotTokens * kChunk);
  }
  pool_.run([&](int thread) { stream(args, thread); });
}

void CpuLinear::stream(const LinearArgs& args, int thread) {
  const Weight& w = *args.weight;
  const bool gated = is_gated(args.epilogue);
  const std::int64_t outputs = args.y.cols;
  const Range mine = split_range(outputs, kUnit, thread, pool_.size());
  float* arranged = scratch_[thread].data();
  float* normalised = arranged + kMaxDotTokens * w.stride;
  float* values = normalised + w.stride;
  float* ups = values + kMaxDotTokens * kChunk;

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
    for (std::int64_t n = mine.begin; n < mine.end; n += kChunk) {
      const std::int64_t count = std::min(kChunk, mine.end - n);
      dot_rows(w, n, count, arranged, tokens, values, kChunk);
      if (gated) dot_rows(w, outputs + n, count, arranged, tokens, ups, kChunk);
      for (int i = 0; i < tokens; ++i) {
        finish_row({.epilogue = args.epilogue,
                    .accumulate = args.accumulate,
                    .value = values + i * kChunk,
                    .bias = args.bias ? args.bias + n : nullptr,
                    .up = ups + i * kChunk,
                    .up_bias = args.bias ? args.bias + outputs + n : nullptr,
                    .y = args.y.row(t + i) + n,
                    .count = static_cast<std::size_t>(count)});
      }
    }
  }
}

}  // namespace spd
