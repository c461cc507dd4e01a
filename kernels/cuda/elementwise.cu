#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/launch.cuh"

namespace spd::cuda {

namespace {

constexpr int kThreads = 256;

/// body(row, column) for each element, one thread each. Blocks are laid along the columns first;
/// rows beyond the grid's limit are taken in turn.
template <class Body>
__global__ void __launch_bounds__(kThreads)
    elements_kernel(const __grid_constant__ Extent extent, const __grid_constant__ Body body) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t column = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= extent.cols) return;
  for (std::int64_t row = blockIdx.y; row < extent.rows; row += gridDim.y) body(row, column);
}

struct Sum {
  Rows<const float> a, b;
  const float* bias;
  Rows<float> out;
  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    float value = a[row][column];
    if (b.data) value += b[row][column];
    if (bias) value += bias[column];
    out[row][column] = value;
  }
};

struct Fill {
  Rows<float> out;
  float value;
  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    out[row][column] = value;
  }
};

template <DType kType>
struct Gather {
  const typename Elements<kType>::Type* table;
  std::int64_t cols;
  const std::int32_t* ids;
  Rows<float> out;
  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    const std::int64_t from = ids ? ids[row] : row;
    out[row][column] = Elements<kType>::load(table + from * cols + column);
  }
};

struct FinishProduct {
  Rows<const float> product;
  Finish finish;
  int outputs;
  bool gated;
  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    const int o = static_cast<int>(column);
    store_product(finish, row, o, outputs, product[row][o],
                  gated ? product[row][outputs + o] : 0.0f);
  }
};

template <class Body>
void for_elements(const char* name, const Body& body, Extent extent, const Queue& queue) {
  if (extent.rows == 0 || extent.cols == 0) return;
  constexpr std::int64_t kMostRows = 65535;
  const dim3 grid(static_cast<unsigned>((extent.cols + kThreads - 1) / kThreads),
                  static_cast<unsigned>(extent.rows < kMostRows ? extent.rows : kMostRows));
  launch(queue, name, {grid, dim3(kThreads)}, elements_kernel<Body>, extent, body);
}

// Every thread loads 16 bytes at a time, its neighbours the next ones.
__global__ void __launch_bounds__(kThreads)
    read_kernel(const uint4* data, std::int64_t count, std::uint32_t* sink, bool keep) {
  std::uint32_t seen = 0;
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
#pragma unroll 4
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    const uint4 four = load_weights(data + i);
    seen |= four.x ^ four.y ^ four.z ^ four.w;
  }
  wait_for_previous();     // or what follows would not have to
  if (keep) *sink = seen;  // never: but the compiler cannot know, and has to load
}

}  // namespace

void sum_rows(Rows<const float> a, Rows<const float> b, const float* bias, Rows<float> out,
              Extent extent, const Queue& queue) {
  for_elements("sum", Sum{a, b, bias, out}, extent, queue);
}

void fill_rows(Rows<float> out, float value, Extent extent, const Queue& queue) {
  for_elements("fill", Fill{out, value}, extent, queue);
}

void gather_rows(const void* table, DType type, const std::int32_t* ids, Rows<float> out,
                 Extent extent, const Queue& queue) {
  const auto gather = [&]<DType kType>() {
    using Type = typename Elements<kType>::Type;
    for_elements("gather", Gather<kType>{static_cast<const Type*>(table), extent.cols, ids, out},
                 extent, queue);
  };
  if (type == DType::f32) gather.template operator()<DType::f32>();
  if (type == DType::bf16) gather.template operator()<DType::bf16>();
  if (type == DType::f16) gather.template operator()<DType::f16>();
}

void finish_product(Rows<const float> product, const Finish& finish, Extent extent,
                    const Queue& queue) {
  for_elements(
      "finish",
      FinishProduct{product, finish, static_cast<int>(extent.cols), is_gated(finish.epilogue)},
      extent, queue);
}

void read_through(const void* data, std::int64_t bytes, std::uint32_t* sink, const Queue& queue) {
  if (bytes < 16) return;
  constexpr int kBlocksEach = 8;
  launch(queue, "read",
         {dim3(static_cast<unsigned>(queue.multiprocessors * kBlocksEach)), dim3(kThreads)},
         read_kernel, static_cast<const uint4*>(data), bytes / 16, sink, false);
}

}  // namespace spd::cuda
