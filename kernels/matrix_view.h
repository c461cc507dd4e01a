// A row-major matrix somewhere on a device: a pointer and its shape, no ownership.
#pragma once

#include <cstdint>
#include <type_traits>

namespace spd {

template <class T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;  ///< elements from one row to the next, >= cols

  MatrixView() = default;
  MatrixView(T* first, std::int64_t row_count, std::int64_t col_count)
      : MatrixView(first, row_count, col_count, col_count) {}
  MatrixView(T* first, std::int64_t row_count, std::int64_t col_count, std::int64_t row_stride)
      : data(first), rows(row_count), cols(col_count), stride(row_stride) {}
  /// A mutable view reads as a constant one.
  operator MatrixView<const T>() const requires(!std::is_const_v<T>) {
    return {data, rows, cols, stride};
  }

  T* row(std::int64_t i) const { return data + i * stride; }
  MatrixView row_range(std::int64_t first, std::int64_t count) const {
    return {data + first * stride, count, cols, stride};
  }
  MatrixView col_range(std::int64_t first, std::int64_t count) const {
    return {data + first, rows, count, stride};
  }
  bool contiguous() const { return stride == cols || rows <= 1; }
};

/// What flows between operators: f32, one row a token.
using Activations = MatrixView<float>;
using ConstActivations = MatrixView<const float>;

}  // namespace spd
