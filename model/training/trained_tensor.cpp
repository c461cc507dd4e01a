#include "model/training/trained_tensor.h"

#include <vector>

namespace spd {

TrainedTensor::TrainedTensor(const HostMatrix& values, bool trained, DType operand,
                             Operators& operators, Stream& stream)
    : weight_(operators.make_weight(DType::f32, values.rows, values.cols)) {
  if (operand != DType::f32) {
    rounded_ = operators.make_weight(operand, values.rows, values.cols);
  }
  upload(values, operators, stream);
  if (!trained) return;
  for (Buffer* buffer : {&gradient_, &mean_, &square_}) {
    *buffer = Buffer(operators.device(), weight_.storage.bytes());
  }
}

void TrainedTensor::multiply(ConstActivations x, const float* bias, bool accumulate, Activations y,
                             Operators& operators, Stream& stream) const {
  operators.linear({.x = x,
                    .norm = nullptr,
                    .weight = &operand(),
                    .bias = bias,
                    .epilogue = Epilogue::none,
                    .accumulate = accumulate,
                    .y = y},
                   stream);
}

void TrainedTensor::multiply_back(ConstActivations dy, ConstActivations x, bool accumulate,
                                  Activations dx, Gradients& gradients, Stream& stream) const {
  if (trained()) gradients.linear_weight(dy, x, gradient(), stream);
  gradients.linear_input(dy, operand(), accumulate, dx, stream);
}

HostMatrix TrainedTensor::download(Device& device, Stream& stream) const {
  return to_host(weight_, device, stream);
}

HostMatrix TrainedTensor::download_gradient(Device& device, Stream& stream) const {
  HostMatrix matrix(weight_.rows, weight_.cols);
  for (std::int64_t r = 0; trained() && r < weight_.rows; ++r) {
    device.download(matrix.row(r), gradient().row(r), weight_.cols * sizeof(float), stream);
  }
  stream.synchronize();
  return matrix;
}

void TrainedTensor::upload(const HostMatrix& values, Operators& operators, Stream& stream) {
  operators.fill_rows(weight_, 0, values.values.data(), values.rows, values.cols, stream);
  if (rounded_.rows > 0) {
    std::vector<std::byte> stored(values.values.size() * size_of(rounded_.dtype));
    convert(values.values.data(), DType::f32, stored.data(), rounded_.dtype, values.values.size());
    operators.fill_rows(rounded_, 0, stored.data(), values.rows, values.cols, stream);
  }
  stream.synchronize();
}

double TrainedTensor::squared_gradient(Gradients& gradients, Stream& stream) const {
  // The padding's gradients are zero.
  return gradients.sum_of_squares(gradient_.as<const float>(), weight_.rows * weight_.stride,
                                  stream);
}

void TrainedTensor::step(AdamArgs adam, Gradients& gradients, Stream& stream) const {
  adam.weight = weight_.storage.as<float>();
  adam.gradient = gradient_.as<float>();
  adam.mean = mean_.as<float>();
  adam.square = square_.as<float>();
  adam.rounded = rounded_.rows > 0 ? rounded_.storage.as<std::uint16_t>() : nullptr;
  adam.count = weight_.rows * weight_.stride;
  gradients.adam(adam, stream);
}

HostMatrix to_host(const Weight& weight, Device& device, Stream& stream) {
  std::vector<std::byte> stored(weight.rows * weight.stride * size_of(weight.dtype));
  device.download(stored.data(), weight.storage.data(), stored.size(), stream);
  stream.synchronize();
  HostMatrix matrix(weight.rows, weight.cols);
  for (std::int64_t r = 0; r < weight.rows; ++r) {
    convert(stored.data() + r * weight.stride * size_of(weight.dtype), weight.dtype, matrix.row(r),
            DType::f32, weight.cols);
  }
  return matrix;
}

HostMatrix to_host(const float* vector, std::int64_t count, Device& device, Stream& stream) {
  if (!vector) return {};
  HostMatrix matrix(1, count);
  device.download(matrix.values.data(), vector, count * sizeof(float), stream);
  stream.synchronize();
  return matrix;
}

}  // namespace spd
