// Device memory that an operator needs while it runs.
#pragma once

#include <cstdint>

#include "kernels/device/device.h"

namespace spd::cuda {

/// Grows to the largest need seen. What lies in it is nobody's after the operator.
class Workspace {
 public:
  explicit Workspace(Device& device) : device_(device) {}
  template <class T>
  T* get(std::int64_t count) {
    const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
    if (bytes > buffer_.bytes()) {
      buffer_ = Buffer();  // first: the new one may take its place
      buffer_ = Buffer(device_, bytes);
    }
    return buffer_.as<T>();
  }

 private:
  Device& device_;
  Buffer buffer_;
};

}  // namespace spd::cuda
