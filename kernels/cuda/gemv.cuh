// The streaming product. A warp takes a few weight rows (of a gated weight: gates and their other
// halves) and all tokens; up to four warps share the columns. Its first weights are on their way
// before it waits for the kernel that makes x; an RMS norm costs nothing of its own, since the sum
// of squares is made in the same pass.
#pragma once

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/gemv.h"
#include "kernels/cuda/launch.cuh"

namespace spd::cuda {

inline constexpr int kGemvWarps = 4;  // a block

/// Weight rows that a warp takes: as many as registers allow.
template <DType kType, int kBatch>
inline constexpr int kGemvRows = kType == DType::i8 || kBatch == 8 ? 2 : 4;

/// Which rows of which weight a warp takes.
template <int kRows>
struct GemvTask {
  const GemvMatrix* matrix;
  int first;    // output
  int outputs;  // of this warp, at most
  bool gated;

  __device__ GemvTask(const GemvArgs& args, int group) {
    gated = args.main.finish.epilogue == Epilogue::gated_silu ||
            args.main.finish.epilogue == Epilogue::gated_gelu_tanh;
    outputs = gated ? kRows / 2 : kRows;
    const int groups = (args.main.outputs + outputs - 1) / outputs;
    matrix = &args.main;
    if (group >= groups) {
      matrix = &args.side;
      group -= groups;
      gated = false;
      outputs = kRows;
    }
    first = group * outputs;
  }
  __device__ int weight_row(int j) const {
    const int o = min(first + j % outputs, matrix->outputs - 1);  // the last again: not used
    return j < outputs ? o : matrix->outputs + o;
  }
  __device__ bool has(int o) const { return first + o < matrix->outputs; }
};

template <DType kType, int kBatch, bool kNormed>
__global__ void __launch_bounds__(kGemvWarps* kWarp)
    gemv_kernel(const __grid_constant__ GemvArgs args) {
  using E = Elements<kType>;
  constexpr int kRows = kGemvRows<kType, kBatch>, kVector = E::kCount;
  constexpr int kSums = kRows * kBatch;
  SPD_SHARED(float, sums, kGemvWarps* kSums);
  SPD_SHARED(float, squares, kGemvWarps* kBatch);
  let_next_begin();
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int part = warp % args.split;
  const GemvTask<kRows> task(args, blockIdx.x * (kGemvWarps / args.split) + warp / args.split);
  const bool works = task.has(0);
  const int vectors = (args.cols + kVector - 1) / kVector;
  const int step = kWarp * args.split;
  int v = part * kWarp + lane;

  const typename E::Type* rows[kRows];
  uint4 raw[kRows];
#pragma unroll
  for (int j = 0; j < kRows; ++j) {
    rows[j] = works ? static_cast<const typename E::Type*>(task.matrix->weights) +
                          task.weight_row(j) * task.matrix->stride
                    : nullptr;
    if (works && v < vectors) raw[j] = load_weights(rows[j] + v * kVector);
  }
  wait_for_previous();

  float total[kSums] = {};
  float square[kBatch] = {};
  while (works && v < vectors) {
    float w[kRows][kVector];
#pragma unroll
    for (int j = 0; j < kRows; ++j) E::unpack(raw[j], w[j]);
    const int at = v * kVector;
    v += step;
    if (v < vectors) {
#pragma unroll
      for (int j = 0; j < kRows; ++j) raw[j] = load_weights(rows[j] + v * kVector);
    }
    float gain[kVector];
    if constexpr (kNormed) load_floats(args.norm_weight, at, args.cols, args.aligned, gain);
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      float x[kVector];
      load_floats(args.x[min(b, args.tokens - 1)], at, args.cols, args.aligned, x);
      if constexpr (kNormed) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          square[b] += x[i] * x[i];
          x[i] *= gain[i];
        }
      }
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) total[j * kBatch + b] += w[j][i] * x[i];
      }
    }
  }

  warp_sums(total, lane);
  if (lane % (kWarp / kSums) == 0) sums[warp * kSums + lane / (kWarp / kSums)] = total[0];
  if constexpr (kNormed) {
    warp_sums(square, lane);
    if (lane % (kWarp / kBatch) == 0) squares[warp * kBatch + lane / (kWarp / kBatch)] = square[0];
  }
  __syncthreads();
  if (part != 0 || lane >= task.outputs * kBatch) return;
  const int o = lane / kBatch, b = lane % kBatch;
  if (!task.has(o) || b >= args.tokens) return;
  float product = 0.0f, other_half = 0.0f, squared = 0.0f;
  for (int p = 0; p < args.split; ++p) {
    product += sums[(warp + p) * kSums + lane];
    if (task.gated) other_half += sums[(warp + p) * kSums + task.outputs * kBatch + lane];
    if (kNormed) squared += squares[(warp + p) * kBatch + b];
  }
  const float scale =
      kNormed ? 1.0f / sqrtf(squared / static_cast<float>(args.cols) + args.epsilon) : 1.0f;
  product *= scale;
  other_half *= scale;
  if constexpr (kType == DType::i8) {
    product *= task.matrix->scales[task.first + o];
    if (task.gated) other_half *= task.matrix->scales[task.matrix->outputs + task.first + o];
  }
  store_product(task.matrix->finish, b, task.first + o, task.matrix->outputs, product, other_half);
}

template <DType kType, int kBatch>
void launch_gemv(const GemvArgs& given, const Queue& queue) {
  GemvArgs args = given;
  constexpr int kRows = kGemvRows<kType, kBatch>;
  const auto groups_of = [](const GemvMatrix& matrix) {
    const int outputs = is_gated(matrix.finish.epilogue) ? kRows / 2 : kRows;
    return (matrix.outputs + outputs - 1) / outputs;
  };
  const int groups = groups_of(args.main) + groups_of(args.side);
  // Enough warps to keep every multiprocessor loading, as long as each has a few vectors to load.
  constexpr int kWarpsEach = 16;
  const int vectors = args.cols / Elements<kType>::kCount;
  args.split = 1;
  while (args.split < kGemvWarps && groups * args.split < queue.multiprocessors * kWarpsEach &&
         vectors >= 2 * kWarp * args.split) {
    args.split *= 2;
  }
  const int each = kGemvWarps / args.split;
  const Shape shape{dim3(static_cast<unsigned>((groups + each - 1) / each)),
                    dim3(kGemvWarps * kWarp)};
  launch(queue, "gemv", shape,
         args.norm_weight ? gemv_kernel<kType, kBatch, true> : gemv_kernel<kType, kBatch, false>,
         args);
}

template <DType kType>
void launch_gemv(const GemvArgs& args, const Queue& queue) {
  if (args.tokens == 1) return launch_gemv<kType, 1>(args, queue);
  if (args.tokens == 2) return launch_gemv<kType, 2>(args, queue);
  if (args.tokens <= 4) return launch_gemv<kType, 4>(args, queue);
  launch_gemv<kType, 8>(args, queue);
}

void gemv_f32(const GemvArgs& args, const Queue& queue);
void gemv_bf16(const GemvArgs& args, const Queue& queue);
void gemv_f16(const GemvArgs& args, const Queue& queue);
void gemv_i8(const GemvArgs& args, const Queue& queue);

}  // namespace spd::cuda
