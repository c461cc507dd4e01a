#include "kernels/cuda/cuda_gradients.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_gradient.h"
#include "kernels/cuda/cuda_error.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/gradient_kernels.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/workspace.h"
#include "kernels/device/error.h"
#include "kernels/operator_checks.h"

namespace spd::cuda {

namespace {

Rows<const float> rows_of(ConstActivations view) { return {view.data, view.stride}; }
Rows<float> rows_of(Activations view) { return {view.data, view.stride}; }
Extent extent_of(ConstActivations view) { return {view.rows, view.cols}; }

class CudaGradients final : public Gradients {
 public:
  CudaGradients(CudaDevice& device, DType operands)
      : device_(device),
        operands_(operands),
        rounded_dy_(device),
        rounded_x_(device),
        moments_(device),
        table_(device),
        softmax_(device),
        sums_(device),
        between_(device, sizeof(float)) {}

  DType operand_type() const override { return operands_; }

  void activate(Epilogue epilogue, ConstActivations pre, Activations y, Stream& stream) override {
    check_activation("activate", epilogue, pre, y);
    Finish finish;
    finish.y = rows_of(y);
    finish.epilogue = epilogue;
    finish_product(rows_of(pre), finish, extent_of(y), device_.queue(stream));
  }

  void activation(Epilogue epilogue, ConstActivations pre, ConstActivations dy, Activations dpre,
                  Stream& stream) override {
    check_activation("activation", epilogue, pre, dy);
    check_same_shape("activation", pre, dpre);
    activation_gradient(epilogue, rows_of(pre), rows_of(dy), rows_of(dpre), extent_of(dy),
                        device_.queue(stream));
  }

  // Columns first: dx^T = weight^T * dy^T, and the weight lies there as its own transpose.
  void linear_input(ConstActivations dy, const Weight& weight, bool accumulate, Activations dx,
                    Stream& stream) override {
    check_linear_input(dy, weight, dx);
    if (dx.rows == 0 || dx.cols == 0) return;
    const Queue queue = device_.queue(stream);
    Product product;
    product.type = weight.dtype;
    product.a = {weight.storage.data(), weight.cols, weight.rows, weight.stride};
    product.b = factor(dy, weight.dtype, rounded_dy_, queue);
    product.y = dx.data;
    product.y_stride = dx.stride;
    product.accumulate = accumulate;
    multiply(product, queue);
  }

  // dweight^T += x^T * dy
  void linear_weight(ConstActivations dy, ConstActivations x, Activations dweight,
                     Stream& stream) override {
    check_linear_weight(dy, x, dweight);
    if (dy.rows == 0 || dweight.rows == 0 || dweight.cols == 0) return;
    const Queue queue = device_.queue(stream);
    Product product;
    product.type = operands_;
    product.a = factor(x, operands_, rounded_x_, queue);
    product.b = factor(dy, operands_, rounded_dy_, queue);
    product.b.transposed = true;
    product.y = dweight.data;
    product.y_stride = dweight.stride;
    product.accumulate = true;
    multiply(product, queue);
  }

  void bias(ConstActivations dy, float* dbias, Stream& stream) override {
    add_columns(rows_of(dy), dbias, extent_of(dy), device_.queue(stream));
  }

  void norm(const NormGradientArgs& args, Stream& stream) override {
    check_norm("norm gradient", args.x.cols, args.norm);
    check_same_shape("norm gradient", args.x, args.dy);
    if (args.dx.data) check_same_shape("norm gradient", args.x, args.dx);
    const NormRows rows{
        rows_of(args.x), rows_of(args.dy), args.x.rows, 1, static_cast<int>(args.x.cols),
        args.norm};
    norm_rows_back(rows, args.dweight, args.dbias, args.accumulate, args.dx, stream);
  }

  void attention(const AttentionGradientArgs& args, Stream& stream) override {
    check_attention_gradient(args);
    if (args.cache.head_dim > kMostHeadDim) {
      throw Error(
          ErrorCode::device,
          fmt::format("attention gradient: heads of {} dimensions, the GPU's kernels take {}",
                      args.cache.head_dim, kMostHeadDim),
          "use --device cpu");
    }
    std::vector<SequenceRow> rows(args.q.rows);
    for (const Segment& s : args.segments) {
      for (std::int64_t i = 0; i < s.length; ++i) {
        rows[s.row + i] = {static_cast<std::int32_t>(s.row), static_cast<std::int32_t>(s.length),
                           static_cast<std::int32_t>(s.slot), static_cast<std::int32_t>(i)};
      }
    }
    const auto heads = static_cast<std::int64_t>(args.kv_head_of.size());
    const AttentionGradient gradient{
        .q = rows_of(args.q),
        .out = rows_of(args.out),
        .dout = rows_of(args.dout),
        .dqkv = rows_of(args.dqkv),
        .rows = uploaded(rows, stream),
        .tokens = args.q.rows,
        .q_heads = static_cast<int>(heads),
        .kv_head_of = head_map(args.kv_head_of, stream),
        .scale = args.scale,
        .window = static_cast<int>(std::min<std::int64_t>(args.window, args.cache.capacity)),
        .cache = {.keys = args.cache.keys,
                  .values = args.cache.values,
                  .type = args.cache.dtype,
                  .kv_heads = static_cast<int>(args.cache.kv_heads),
                  .head_dim = static_cast<int>(args.cache.head_dim),
                  .block_size = static_cast<int>(args.cache.capacity)},
        .softmax = softmax_.get<SoftmaxRow>(std::max<std::int64_t>(1, args.q.rows * heads))};
    attention_gradient(gradient, device_.queue(stream));
  }

  void store_kv(const StoreKvGradientArgs& args, Stream& stream) override {
    check_store_kv_gradient(args);
    if (args.dqkv.rows == 0) return;
    if (args.rope) {
      std::vector<std::int32_t> positions(args.dqkv.rows, -1);
      for (const Segment& s : args.segments) {
        std::iota(positions.begin() + s.row, positions.begin() + s.row + s.length,
                  static_cast<std::int32_t>(s.position));
      }
      unrotate({.dqkv = rows_of(args.dqkv),
                .positions = uploaded(positions, stream),
                .rows = args.dqkv.rows,
                .heads = static_cast<int>(args.q_heads + args.kv_heads),
                .head_dim = static_cast<int>(args.head_dim),
                .rotary_dim = static_cast<int>(args.rope->rotary_dim),
                .cos_sin = args.rope->cos_sin.as<const float>()},
               device_.queue(stream));
    }
    if (args.q_norm) head_norms(args, 0, args.q_heads, *args.q_norm, args.dq_norm, stream);
    if (args.k_norm) {
      head_norms(args, args.q_heads, args.kv_heads, *args.k_norm, args.dk_norm, stream);
    }
  }

  double difference(const DifferenceArgs& args, Stream& stream) override {
    check_same_shape("difference", args.a, args.b);
    check_same_shape("difference", args.a, args.diff);
    auto* const sums = sums_.get<double>(args.a.rows);
    cuda::difference(args, sums, device_.queue(stream));
    return sum_on_host(sums, args.a.rows, stream);
  }

  double divergence(const DivergenceGradientArgs& args, Stream& stream) override {
    check_same_shape("divergence", args.teacher, args.student);
    check_same_shape("divergence", args.teacher, args.dstudent);
    const std::int64_t rows = args.teacher.rows;
    std::vector<float> totals(2 * rows);
    for (std::int64_t r = 0; r < rows; ++r) {
      totals[r] = static_cast<float>(args.teacher_log_sum_exp[r]);
      totals[rows + r] = static_cast<float>(args.student_log_sum_exp[r]);
    }
    auto* const sums = sums_.get<double>(rows);
    cuda::divergence(args, uploaded(totals, stream), sums, device_.queue(stream));
    return sum_on_host(sums, rows, stream);
  }

  double sum_of_squares(const float* values, std::int64_t count, Stream& stream) override {
    const std::int64_t chunks = (count + kSumChunk - 1) / kSumChunk;
    auto* const sums = sums_.get<double>(chunks);
    cuda::sum_of_squares(values, count, sums, device_.queue(stream));
    return sum_on_host(sums, chunks, stream);
  }

  void adam(const AdamArgs& args, Stream& stream) override {
    cuda::adam(args, device_.queue(stream));
    // Weights are fetched before the kernel ahead is done: only kernels overlap, a fill does not.
    check(cudaMemsetAsync(between_.data(), 0, between_.bytes(), CudaDevice::handle(stream)),
          "separating a step from what follows");
  }

 private:
  void multiply(const Product& product, const Queue& queue) {
    if (!matmul_) matmul_ = std::make_unique<Matmul>(device_);
    matmul_->run(product, queue);
  }

  /// As it is, or a rounded copy in `to`.
  Factor factor(ConstActivations view, DType type, Workspace& to, const Queue& queue) const {
    if (type == DType::f32) return {view.data, view.cols, view.rows, view.stride};
    constexpr std::int64_t kPad = 8;
    const std::int64_t stride = (view.cols + kPad - 1) / kPad * kPad;
    auto* const copy = to.get<std::uint16_t>(view.rows * stride);
    norm_rows({.x = rows_of(view),
               .tokens = view.rows,
               .cols = static_cast<int>(view.cols),
               .out = copy,
               .out_stride = stride,
               .type = type},
              queue);
    return {copy, view.cols, view.rows, stride};
  }

  void norm_rows_back(const NormRows& rows, float* dweight, float* dbias, bool accumulate,
                      Activations dx, Stream& stream) {
    const Queue queue = device_.queue(stream);
    auto* const moments = moments_.get<Moments>(std::max<std::int64_t>(1, rows.rows * rows.parts));
    norm_moments(rows, moments, queue);
    // Parameters first: dx may be dy.
    if (dweight || dbias) norm_parameters(rows, moments, dweight, dbias, queue);
    if (dx.data) norm_input(rows, moments, accumulate, rows_of(dx), queue);
  }

  /// Each head is a norm of its own over head_dim features, all with the same weights.
  void head_norms(const StoreKvGradientArgs& args, std::int64_t first, std::int64_t heads,
                  const Norm& norm, float* dweight, Stream& stream) {
    const std::int64_t cols = heads * args.head_dim;
    const Activations dheads = args.dqkv.col_range(first * args.head_dim, cols);
    const ConstActivations x = ConstActivations(args.qkv).col_range(first * args.head_dim, cols);
    const NormRows rows{rows_of(x),
                        rows_of(ConstActivations(dheads)),
                        args.dqkv.rows,
                        static_cast<int>(heads),
                        static_cast<int>(args.head_dim),
                        norm};
    norm_rows_back(rows, dweight, nullptr, false, dheads, stream);
  }

  /// What one call needs on the device; the next call may overwrite it.
  template <class T>
  const T* uploaded(const std::vector<T>& values, Stream& stream) {
    auto* const to = table_.get<T>(std::max<std::int64_t>(1, std::ssize(values)));
    if (!values.empty()) device_.upload(to, values.data(), values.size() * sizeof(T), stream);
    return to;
  }

  /// Kept: a model has few of them.
  const std::int32_t* head_map(std::span<const std::int32_t> map, Stream& stream) {
    const std::vector<std::int32_t> key(map.begin(), map.end());
    const auto found = maps_.find(key);
    if (found != maps_.end()) return found->second.as<std::int32_t>();
    Buffer buffer(device_, std::max<std::size_t>(1, key.size()) * sizeof(std::int32_t));
    if (!key.empty()) {
      device_.upload(buffer.data(), key.data(), key.size() * sizeof(std::int32_t), stream);
    }
    return maps_.emplace(key, std::move(buffer)).first->second.as<std::int32_t>();
  }

  /// In their order, whatever the device.
  double sum_on_host(const double* sums, std::int64_t count, Stream& stream) {
    std::vector<double> parts(count);
    if (count > 0) {
      device_.download(parts.data(), sums, parts.size() * sizeof(double), stream);
      stream.synchronize();
    }
    return std::accumulate(parts.begin(), parts.end(), 0.0);
  }

  CudaDevice& device_;
  DType operands_;
  std::unique_ptr<Matmul> matmul_;  // the library is loaded when it is needed
  Workspace rounded_dy_, rounded_x_, moments_, table_, softmax_, sums_;
  Buffer between_;
  std::map<std::vector<std::int32_t>, Buffer> maps_;
};

}  // namespace

std::unique_ptr<Gradients> make_cuda_gradients(CudaDevice& device, DType operands) {
  return std::make_unique<CudaGradients>(device, operands);
}

}  // namespace spd::cuda
