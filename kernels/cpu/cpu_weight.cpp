#include "kernels/cpu/cpu_weight.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/device/error.h"

namespace spd {

namespace {
// Elements that rows are padded to: two vectors of every instruction set.
constexpr std::int64_t kPad = 32;
}  // namespace

Weight make_cpu_weight(Device& device, DType dtype, std::int64_t rows, std::int64_t cols) {
  if (rows < 0 || cols <= 0) {
    throw Error(ErrorCode::internal, fmt::format("make_weight: a weight of [{}, {}]", rows, cols));
  }
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  Weight weight;
  weight.dtype = dtype;
  weight.rows = rows;
  weight.cols = cols;
  weight.stride = (cols + kPad - 1) / kPad * kPad;
  weight.storage = Buffer(device, static_cast<std::size_t>(rows * weight.stride * element));
  if (dtype == DType::i8) weight.scales = Buffer(device, rows * sizeof(float));
  return weight;
}

void fill_cpu_rows(Weight& weight, std::int64_t first, const void* host, std::int64_t count,
                   std::int64_t host_stride) {
  if (weight.dtype == DType::i8) {
    for (std::int64_t r = 0; r < count; ++r) {
      const float* row = static_cast<const float*>(host) + r * host_stride;
      const float scale = i8_scale(row, weight.cols);
      weight.scales.as<float>()[first + r] = scale;
      auto* to = weight.storage.as<std::int8_t>() + (first + r) * weight.stride;
      for (std::int64_t i = 0; i < weight.cols; ++i) to[i] = f32_to_i8(row[i], scale);
    }
    return;
  }
  const std::size_t element = size_of(weight.dtype);
  const auto* from = static_cast<const std::byte*>(host);
  auto* to = weight.storage.as<std::byte>() + first * weight.stride * element;
  for (std::int64_t r = 0; r < count; ++r) {
    std::memcpy(to + r * weight.stride * element, from + r * host_stride * element,
                weight.cols * element);
  }
}

}  // namespace spd
