// Attention of one token's query heads over a cached head.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/device/dtype.h"

namespace spd {

/// One query head against `count` consecutive positions of one cached head.
struct AttendArgs {
  const float* q = nullptr;      ///< [head_dim]
  const void* keys = nullptr;    ///< [count, head_dim]
  const void* values = nullptr;  ///< [count, head_dim]
  DType dtype = DType::f32;
  std::size_t count = 0;  ///< > 0
  std::size_t head_dim = 0;
  float scale = 1.0f;
  float* scores = nullptr;  ///< scratch, [count]
  float* out = nullptr;     ///< [head_dim]
};
void attend(const AttendArgs& args);

}  // namespace spd
