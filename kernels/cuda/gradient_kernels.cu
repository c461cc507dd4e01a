#include "kernels/cuda/gradient_kernels.h"

#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"

namespace spd::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

dim3 blocks_for(std::int64_t count, int each) {
  return dim3(static_cast<unsigned>((count + each - 1) / each));
}

/// Of what activated() gives.
__device__ float activation_slope(Epilogue epilogue, float x) {
  switch (epilogue) {
    case Epilogue::none:
      return 1.0f;
    case Epilogue::relu:
      return x > 0.0f ? 1.0f : 0.0f;
    case Epilogue::gelu: {
      const float density = 0.39894228f * expf(-0.5f * x * x);
      return 0.5f * (1.0f + erff(x * 0.70710678f)) + x * density;
    }
    case Epilogue::gelu_tanh:
    case Epilogue::gated_gelu_tanh: {
      const float t = tanhf(0.79788456f * (x + 0.044715f * x * x * x));
      const float inner = 0.79788456f * (1.0f + 3.0f * 0.044715f * x * x);
      // Beyond this 1 - t^2 is nothing and the other factor may be infinite.
      return fabsf(x) > 20.0f ? 0.5f * (1.0f + t)
                              : 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
    }
    case Epilogue::silu:
    case Epilogue::gated_silu: {
      const float s = 1.0f / (1.0f + expf(-x));
      return s == 0.0f ? 0.0f : s * (1.0f + x * (1.0f - s));
    }
  }
  return 1.0f;
}

__global__ void __launch_bounds__(kThreads)
    activation_kernel(Epilogue epilogue, bool gated, Rows<const float> pre, Rows<const float> dy,
                      Rows<float> dpre, const __grid_constant__ Extent extent) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t o = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (o >= extent.cols) return;
  for (std::int64_t row = blockIdx.y; row < extent.rows; row += gridDim.y) {
    const float x = pre[row][o], dvalue = dy[row][o];
    const float slope = dvalue * activation_slope(epilogue, x);
    if (!gated) {
      dpre[row][o] = slope;
      continue;
    }
    const float up = pre[row][extent.cols + o];
    dpre[row][extent.cols + o] = dvalue * activated(epilogue, x);
    dpre[row][o] = slope * up;
  }
}

__global__ void __launch_bounds__(kThreads)
    columns_kernel(Rows<const float> dy, float* sums, const __grid_constant__ Extent extent) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t column = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= extent.cols) return;
  float sum = sums[column];
  for (std::int64_t row = 0; row < extent.rows; ++row) sum += dy[row][column];
  sums[column] = sum;
}

// One warp a part of a row.
__global__ void __launch_bounds__(kThreads)
    moments_kernel(const __grid_constant__ NormRows args, bool layer, float epsilon,
                   Moments* moments) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (i >= args.rows * args.parts) return;
  const float* const x = args.x[i / args.parts] + i % args.parts * args.cols;
  const auto n = static_cast<float>(args.cols);
  float mean = 0.0f, squares = 0.0f;
  if (layer) {
    for (int c = lane; c < args.cols; c += kWarp) mean += x[c];
    mean = warp_sum(mean) / n;
  }
  for (int c = lane; c < args.cols; c += kWarp) squares += (x[c] - mean) * (x[c] - mean);
  const float scale = 1.0f / sqrtf(warp_sum(squares) / n + epsilon);
  if (lane == 0) moments[i] = {mean, scale};
}

// One block a column, its threads the rows: sums in a fixed order.
__global__ void __launch_bounds__(kThreads)
    parameters_kernel(const __grid_constant__ NormRows args, const Moments* moments, float* dweight,
                      float* dbias) {
  SPD_SHARED(float, partial, kWarps);
  let_next_begin();
  wait_for_previous();
  const int column = blockIdx.x;
  float weight = 0.0f, bias = 0.0f;
  for (std::int64_t i = threadIdx.x; i < args.rows * args.parts; i += kThreads) {
    const std::int64_t at = i % args.parts * args.cols + column;
    const float dy = args.dy[i / args.parts][at];
    weight += dy * (args.x[i / args.parts][at] - moments[i].mean) * moments[i].scale;
    bias += dy;
  }
  weight = block_sum(weight, partial);
  bias = block_sum(bias, partial);
  if (threadIdx.x != 0) return;
  if (dweight) dweight[column] += weight;
  if (dbias) dbias[column] += bias;
}

// One warp a part of a row. With x^ = (x - mean) * scale and g = weight * dy:
//   dx = scale * (g - mean of g (layer norms only) - x^ * mean of g * x^)
__global__ void __launch_bounds__(kThreads)
    input_kernel(const __grid_constant__ NormRows args, bool layer, const float* weight,
                 const Moments* moments, bool accumulate, Rows<float> dx) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (i >= args.rows * args.parts) return;
  const std::int64_t row = i / args.parts, at = i % args.parts * args.cols;
  const float *x = args.x[row] + at, *dy = args.dy[row] + at;
  float* const to = dx[row] + at;
  const Moments m = moments[i];
  const auto n = static_cast<float>(args.cols);
  float sum = 0.0f, product = 0.0f;
  for (int c = lane; c < args.cols; c += kWarp) {
    const float g = weight[c] * dy[c];
    sum += g;
    product += g * (x[c] - m.mean) * m.scale;
  }
  const float shift = layer ? warp_sum(sum) / n : 0.0f;
  const float factor = warp_sum(product) / n;
  for (int c = lane; c < args.cols; c += kWarp) {
    const float g = weight[c] * dy[c];
    const float value = m.scale * (g - shift - (x[c] - m.mean) * m.scale * factor);
    to[c] = accumulate ? to[c] + value : value;
  }
}

// One warp a head.
__global__ void __launch_bounds__(kThreads)
    unrotate_kernel(const __grid_constant__ Unrotation args) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (i >= args.rows * args.heads) return;
  const std::int64_t row = i / args.heads;
  const int position = args.positions[row], half = args.rotary_dim / 2;
  if (position < 0) return;
  const float* const angles = args.cos_sin + static_cast<std::int64_t>(position) * args.rotary_dim;
  float* const head = args.dqkv[row] + i % args.heads * args.head_dim;
  for (int j = threadIdx.x % kWarp; j < half; j += kWarp) {
    const float a = head[j], b = head[j + half];
    const float cosine = angles[j], sine = angles[half + j];
    head[j] = a * cosine + b * sine;
    head[j + half] = b * cosine - a * sine;
  }
}

struct Difference {
  Rows<const float> a, b;
  Rows<float> diff;
  const float* weight;
  int cols;
  float scale;
  bool damped;
};

// One block a row.
__global__ void __launch_bounds__(kThreads)
    difference_kernel(const __grid_constant__ Difference args, double* sums) {
  SPD_SHARED(float, partial, kWarps);
  let_next_begin();
  wait_for_previous();
  const std::int64_t row = blockIdx.x;
  const float *a = args.a[row], *b = args.b[row];
  float squares = 0.0f;
  for (int i = threadIdx.x; i < args.cols; i += kThreads) squares += (a[i] - b[i]) * (a[i] - b[i]);
  const float weight = args.weight ? args.weight[row] : 1.0f;
  const double loss = static_cast<double>(weight) * block_sum(squares, partial);
  float factor = args.scale * weight;
  if (args.damped) factor *= static_cast<float>(1.0 / (1.0 + loss));
  for (int i = threadIdx.x; i < args.cols; i += kThreads) {
    args.diff[row][i] = factor * (a[i] - b[i]);
  }
  if (threadIdx.x == 0) sums[row] = args.damped ? log1p(loss) : loss;
}

struct Divergence {
  Rows<const float> teacher, student;
  Rows<float> dstudent;
  const float* log_sum_exps;
  std::int64_t rows;
  int cols;
  float scale;
};

// One block a row.
__global__ void __launch_bounds__(kThreads)
    divergence_kernel(const __grid_constant__ Divergence args, double* sums) {
  SPD_SHARED(float, partial, kWarps);
  let_next_begin();
  wait_for_previous();
  const std::int64_t row = blockIdx.x;
  const float teacher_total = args.log_sum_exps[row];
  const float student_total = args.log_sum_exps[args.rows + row];
  const float *teacher = args.teacher[row], *student = args.student[row];
  float sum = 0.0f;
  for (int i = threadIdx.x; i < args.cols; i += kThreads) {
    const float log_p = teacher[i] - teacher_total, log_q = student[i] - student_total;
    const float p = expf(fminf(log_p, 0.0f)), q = expf(fminf(log_q, 0.0f));
    sum += p * (log_p - log_q);
    args.dstudent[row][i] = args.scale * (q - p);
  }
  sum = block_sum(sum, partial);
  if (threadIdx.x == 0) sums[row] = sum;
}

// One block a chunk.
__global__ void __launch_bounds__(kThreads)
    squares_kernel(const float* values, std::int64_t count, double* sums) {
  SPD_SHARED(float, partial, kWarps);
  let_next_begin();
  wait_for_previous();
  const std::int64_t begin = blockIdx.x * kSumChunk;
  const std::int64_t end = begin + kSumChunk < count ? begin + kSumChunk : count;
  float sum = 0.0f;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += values[i] * values[i];
  sum = block_sum(sum, partial);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

struct AdamStep {
  AdamArgs args;
  float mean_correction, square_correction;
};

__global__ void __launch_bounds__(kThreads) adam_kernel(const __grid_constant__ AdamStep step) {
  let_next_begin();
  wait_for_previous();
  const AdamArgs& args = step.args;
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= args.count) return;
  const float g = args.gradient[i] * args.gradient_scale;
  const float mean = args.beta1 * args.mean[i] + (1.0f - args.beta1) * g;
  const float square = args.beta2 * args.square[i] + (1.0f - args.beta2) * g * g;
  const float move = args.rate * mean * step.mean_correction /
                     (sqrtf(square * step.square_correction) + args.epsilon);
  const float weight = args.weight[i] * (1.0f - args.rate * args.decay) - move;
  args.mean[i] = mean;
  args.square[i] = square;
  args.weight[i] = weight;
  args.gradient[i] = 0.0f;
  if (args.rounded) args.rounded[i] = bits_of(__float2bfloat16(weight));
}

Rows<const float> rows_of(ConstActivations view) { return {view.data, view.stride}; }

}  // namespace

void activation_gradient(Epilogue epilogue, Rows<const float> pre, Rows<const float> dy,
                         Rows<float> dpre, Extent extent, const Queue& queue) {
  if (extent.rows == 0 || extent.cols == 0) return;
  dim3 grid = blocks_for(extent.cols, kThreads);
  grid.y = static_cast<unsigned>(extent.rows < 65535 ? extent.rows : 65535);
  launch(queue, "activation_gradient", {grid, dim3(kThreads)}, activation_kernel, epilogue,
         is_gated(epilogue), pre, dy, dpre, extent);
}

void add_columns(Rows<const float> dy, float* sums, Extent extent, const Queue& queue) {
  if (extent.rows == 0 || extent.cols == 0) return;
  launch(queue, "add_columns", {blocks_for(extent.cols, kThreads), dim3(kThreads)}, columns_kernel,
         dy, sums, extent);
}

void norm_moments(const NormRows& args, Moments* moments, const Queue& queue) {
  if (args.rows == 0) return;
  launch(queue, "norm_moments", {blocks_for(args.rows * args.parts, kWarps), dim3(kThreads)},
         moments_kernel, args, args.norm.kind == NormKind::layer, args.norm.epsilon, moments);
}

void norm_parameters(const NormRows& args, const Moments* moments, float* dweight, float* dbias,
                     const Queue& queue) {
  if (args.rows == 0) return;
  launch(queue, "norm_parameters", {dim3(static_cast<unsigned>(args.cols)), dim3(kThreads)},
         parameters_kernel, args, moments, dweight, dbias);
}

void norm_input(const NormRows& args, const Moments* moments, bool accumulate, Rows<float> dx,
                const Queue& queue) {
  if (args.rows == 0) return;
  launch(queue, "norm_input", {blocks_for(args.rows * args.parts, kWarps), dim3(kThreads)},
         input_kernel, args, args.norm.kind == NormKind::layer, args.norm.weight, moments,
         accumulate, dx);
}

void unrotate(const Unrotation& args, const Queue& queue) {
  if (args.rows == 0 || args.heads == 0) return;
  launch(queue, "unrotate", {blocks_for(args.rows * args.heads, kWarps), dim3(kThreads)},
         unrotate_kernel, args);
}

void difference(const DifferenceArgs& args, double* sums, const Queue& queue) {
  if (args.a.rows == 0) return;
  launch(queue, "difference", {dim3(static_cast<unsigned>(args.a.rows)), dim3(kThreads)},
         difference_kernel,
         Difference{rows_of(args.a),
                    rows_of(args.b),
                    {args.diff.data, args.diff.stride},
                    args.weight,
                    static_cast<int>(args.a.cols),
                    args.scale,
                    args.damped},
         sums);
}

void divergence(const DivergenceGradientArgs& args, const float* log_sum_exps, double* sums,
                const Queue& queue) {
  if (args.teacher.rows == 0) return;
  launch(queue, "divergence", {dim3(static_cast<unsigned>(args.teacher.rows)), dim3(kThreads)},
         divergence_kernel,
         Divergence{rows_of(args.teacher),
                    rows_of(args.student),
                    {args.dstudent.data, args.dstudent.stride},
                    log_sum_exps,
                    args.teacher.rows,
                    static_cast<int>(args.teacher.cols),
                    args.scale},
         sums);
}

void sum_of_squares(const float* values, std::int64_t count, double* sums, const Queue& queue) {
  if (count == 0) return;
  launch(queue, "sum_of_squares",
         {dim3(static_cast<unsigned>((count + kSumChunk - 1) / kSumChunk)), dim3(kThreads)},
         squares_kernel, values, count, sums);
}

void adam(const AdamArgs& args, const Queue& queue) {
  if (args.count == 0) return;
  const auto correction = [&](float beta) {
    return static_cast<float>(
        1.0 / (1.0 - std::pow(static_cast<double>(beta), static_cast<double>(args.step))));
  };
  launch(queue, "adam", {blocks_for(args.count, kThreads), dim3(kThreads)}, adam_kernel,
         AdamStep{args, correction(args.beta1), correction(args.beta2)});
}

}  // namespace spd::cuda
