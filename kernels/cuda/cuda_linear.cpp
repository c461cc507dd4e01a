#include "kernels/cuda/cuda_linear.h"

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/norm.h"

namespace spd::cuda {

namespace {

constexpr std::uintptr_t kVector = 16;  // bytes

bool starts_vector(const void* data) {
  return reinterpret_cast<std::uintptr_t>(data) % kVector == 0;
}

Rows<const float> rows_of(ConstActivations view) { return {view.data, view.stride}; }

Finish finish_of(const LinearArgs& args) {
  return {.bias = args.bias,
          .plus_a = rows_of(args.plus.a),
          .plus_b = rows_of(args.plus.b),
          .y = {args.y.data, args.y.stride},
          .epilogue = args.epilogue,
          .accumulate = args.accumulate};
}

GemvMatrix matrix_of(const LinearArgs& args) {
  return {.weights = args.weight->storage.data(),
          .scales = args.weight->scales.as<const float>(),
          .stride = args.weight->stride,
          .outputs = static_cast<int>(args.y.cols),
          .finish = finish_of(args)};
}

}  // namespace

CudaLinear::CudaLinear(CudaDevice& device)
    : device_(device), normed_(device), activations_(device), weights_(device), product_(device) {}

void CudaLinear::run(const LinearArgs& args, Stream& stream) {
  const bool side = args.side.weight != nullptr;
  LinearArgs main = args;
  if (side && args.x.rows > 0 && args.side.y.cols > 0) {
    // One launch makes both products if it can read both weights.
    const bool together = args.x.rows <= kGemvTokens && args.y.cols > 0 &&
                          args.side.weight->dtype == args.weight->dtype;
    if (!together) {
      main.side = {};
      run(side_of(args), stream);
    }
  } else {
    main.side = {};
  }
  if (args.x.rows == 0 || args.y.cols == 0) return;
  const Queue queue = device_.queue(stream);
  args.x.rows <= kGemvTokens ? run_few(main, queue) : run_many(main, queue);
}

void CudaLinear::run_few(const LinearArgs& args, const Queue& queue) {
  GemvArgs gemv_args{.x = rows_of(args.x),
                     .tokens = static_cast<int>(args.x.rows),
                     .cols = static_cast<int>(args.x.cols),
                     .main = matrix_of(args),
                     .side = {}};
  if (args.side.weight) gemv_args.side = matrix_of(side_of(args));
  if (args.norm && args.norm->kind == NormKind::rms) {
    gemv_args.norm_weight = args.norm->weight;
    gemv_args.epsilon = args.norm->epsilon;
  } else if (args.norm) {
    // The mean has to be known before the deviations can be squared: a kernel of its own.
    constexpr std::int64_t kPad = 4;
    const std::int64_t stride = (args.x.cols + kPad - 1) / kPad * kPad;
    auto* const normed = normed_.get<float>(args.x.rows * stride);
    norm_rows({.x = rows_of(args.x),
               .tokens = args.x.rows,
               .cols = gemv_args.cols,
               .norm = args.norm,
               .out = normed,
               .out_stride = stride},
              queue);
    gemv_args.x = {normed, stride};
  }
  gemv_args.aligned = starts_vector(gemv_args.x.data) &&
                      (args.x.rows == 1 || gemv_args.x.stride % 4 == 0) &&
                      starts_vector(gemv_args.norm_weight);
  gemv(args.weight->dtype, gemv_args, queue);
}

const void* CudaLinear::converted(const LinearArgs& args, DType type, std::int64_t& stride,
                                  const Queue& queue) {
  if (type == DType::f32 && !args.norm && starts_vector(args.x.data) && args.x.stride % 4 == 0) {
    stride = args.x.stride;
    return args.x.data;
  }
  constexpr std::int64_t kPad = 8;
  stride = (args.x.cols + kPad - 1) / kPad * kPad;
  const auto bytes = args.x.rows * stride * static_cast<std::int64_t>(size_of(type));
  void* const out = activations_.get<std::byte>(bytes);
  norm_rows({.x = rows_of(args.x),
             .tokens = args.x.rows,
             .cols = static_cast<int>(args.x.cols),
             .norm = args.norm,
             .out = out,
             .out_stride = stride,
             .type = type},
            queue);
  return out;
}

void CudaLinear::run_many(const LinearArgs& args, const Queue& queue) {
  if (!matmul_) matmul_.emplace(device_);
  const Weight& weight = *args.weight;
  Product product;
  product.type = weight.dtype;
  // Columns first: y^T = weight * x^T, where the weight lies turned.
  product.a = {weight.storage.data(), weight.cols, weight.rows, weight.stride, true};
  if (weight.dtype == DType::i8) {
    product.type = DType::bf16;
    auto* const expanded = weights_.get<std::uint16_t>(weight.rows * weight.stride);
    expand_rows(weight.storage.data(), weight.scales.as<const float>(), weight.rows, weight.stride,
                expanded, queue);
    product.a.data = expanded;
  }
  product.b = {nullptr, weight.cols, args.x.rows};
  product.b.data = converted(args, product.type, product.b.stride, queue);
  if (args.epilogue == Epilogue::none && !args.bias && !args.plus.given()) {
    product.y = args.y.data;
    product.y_stride = args.y.stride;
    product.accumulate = args.accumulate;
    matmul_->run(product, queue);
    return;
  }
  constexpr std::int64_t kPad = 4;
  product.y_stride = (weight.rows + kPad - 1) / kPad * kPad;
  product.y = product_.get<float>(args.x.rows * product.y_stride);
  matmul_->run(product, queue);
  finish_product({product.y, product.y_stride}, finish_of(args), {args.y.rows, args.y.cols}, queue);
}

}  // namespace spd::cuda
