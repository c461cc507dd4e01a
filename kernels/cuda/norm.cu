#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/norm.h"

namespace spd::cuda {

namespace {

constexpr int kThreads = 256;

enum class Kind : std::uint8_t { none, rms, layer };

struct Normed {
  Rows<const float> x;
  int cols;
  const float *weight, *bias;
  float epsilon;
};

// One block a row. The deviations' squares are summed in a pass of their own: the difference of two
// large sums would lose them.
template <Kind kKind, DType kOut>
__global__ void __launch_bounds__(kThreads)
    norm_kernel(Normed args, typename Elements<kOut>::Type* out, std::int64_t out_stride) {
  SPD_SHARED(float, partial, kThreads / kWarp);
  let_next_begin();
  wait_for_previous();
  const std::int64_t token = blockIdx.x;
  const float* const x = args.x[token];
  const auto n = static_cast<float>(args.cols);
  float mean = 0.0f, scale = 1.0f;
  if constexpr (kKind == Kind::layer) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < args.cols; i += kThreads) sum += x[i];
    mean = block_sum(sum, partial) / n;
  }
  if constexpr (kKind != Kind::none) {
    float squares = 0.0f;
    for (int i = threadIdx.x; i < args.cols; i += kThreads) {
      squares += (x[i] - mean) * (x[i] - mean);
    }
    scale = 1.0f / sqrtf(block_sum(squares, partial) / n + args.epsilon);
  }
  for (int i = threadIdx.x; i < args.cols; i += kThreads) {
    float value = x[i];
    if constexpr (kKind != Kind::none) value = (value - mean) * scale * args.weight[i];
    if (kKind == Kind::layer && args.bias) value += args.bias[i];
    Elements<kOut>::store(out + token * out_stride + i, value);
  }
}

template <DType kOut>
void launch_norm(const NormArgs& args, const Queue& queue) {
  const Norm none;
  const Norm& norm = args.norm ? *args.norm : none;
  const auto kernel = !args.norm                     ? norm_kernel<Kind::none, kOut>
                      : norm.kind == NormKind::layer ? norm_kernel<Kind::layer, kOut>
                                                     : norm_kernel<Kind::rms, kOut>;
  launch(queue, "norm", {dim3(static_cast<unsigned>(args.tokens)), dim3(kThreads)}, kernel,
         Normed{args.x, args.cols, norm.weight, norm.bias, norm.epsilon},
         static_cast<typename Elements<kOut>::Type*>(args.out), args.out_stride);
}

__global__ void __launch_bounds__(kThreads)
    expand_kernel(const std::int8_t* in, const float* scales, std::int64_t stride,
                  __nv_bfloat16* out) {
  let_next_begin();
  const std::int64_t row = blockIdx.x;
  const float scale = scales[row];
  wait_for_previous();  // somebody may still read `out`
  for (std::int64_t i = threadIdx.x; i < stride; i += kThreads) {
    out[row * stride + i] = __float2bfloat16(static_cast<float>(in[row * stride + i]) * scale);
  }
}

}  // namespace

void norm_rows(const NormArgs& args, const Queue& queue) {
  if (args.tokens == 0) return;
  switch (args.type) {
    case DType::f32:
      return launch_norm<DType::f32>(args, queue);
    case DType::bf16:
      return launch_norm<DType::bf16>(args, queue);
    case DType::f16:
      return launch_norm<DType::f16>(args, queue);
    case DType::i8:
      return;
  }
}

void expand_rows(const void* in, const float* scales, std::int64_t rows, std::int64_t stride,
                 void* out, const Queue& queue) {
  launch(queue, "expand", {dim3(static_cast<unsigned>(rows)), dim3(kThreads)}, expand_kernel,
         static_cast<const std::int8_t*>(in), scales, stride, static_cast<__nv_bfloat16*>(out));
}

}  // namespace spd::cuda
