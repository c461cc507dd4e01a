// The shapes that kernels are timed at: one rank's part of a block of three models.
#pragma once

#include <array>
#include <cstdint>

namespace spd::bench {

struct ModelShape {
  const char* name;
  std::int64_t hidden;
  std::int64_t q_heads;  ///< of this rank
  std::int64_t kv_heads;
  std::int64_t head_dim;
  std::int64_t mlp;  ///< neurons of this rank
};

inline constexpr std::array kModelShapes{
    ModelShape{"smollm2-135m", 576, 9, 3, 64, 1536},
    ModelShape{"llama-7b", 4096, 32, 32, 128, 11008},
    ModelShape{"llama-70b-tp8", 8192, 8, 1, 128, 3584},
};

/// A product's weight, [out, in]; `gated`: out counts gate and up rows.
struct ProductShape {
  const char* name;
  std::int64_t out;
  std::int64_t in;
  bool gated;
};

constexpr std::array<ProductShape, 4> products_of(const ModelShape& model) {
  const std::int64_t q = model.q_heads * model.head_dim;
  const std::int64_t kv = model.kv_heads * model.head_dim;
  return {{{"qkv", q + 2 * kv, model.hidden, false},
           {"o", model.hidden, q, false},
           {"gate_up", 2 * model.mlp, model.hidden, true},
           {"down", model.hidden, model.mlp, false}}};
}

}  // namespace spd::bench
