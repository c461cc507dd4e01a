// What store_kv and attention are tried on, by every implementation.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/operators.h"
#include "tests/kernels/operators_fixture.h"

namespace spd::test {

/// A cache in host memory, filled with random values.
struct Cache {
  Cache(Random& random, DType type, std::int64_t slots, std::int64_t heads, std::int64_t capacity,
        std::int64_t head_dim) {
    const std::int64_t count = slots * heads * capacity * head_dim;
    for (std::vector<std::byte>* side : {&keys, &values}) {
      const std::vector<float> numbers = random.vector(count);
      side->resize(count * size_of(type));
      convert(numbers.data(), DType::f32, side->data(), type, numbers.size());
    }
    layer = {keys.data(), values.data(), type, slots, heads, capacity, head_dim};
  }
  Cache(const Cache& other) : keys(other.keys), values(other.values), layer(other.layer) {
    layer.keys = keys.data();
    layer.values = values.data();
  }
  Cache& operator=(const Cache&) = delete;

  std::vector<std::byte> keys, values;
  KvLayer layer;
};

inline std::int64_t rows_of(const std::vector<Segment>& segments) {
  std::int64_t rows = 0;
  for (const Segment& s : segments) rows = std::max(rows, s.row + s.length);
  return rows;
}

struct AttentionCase {
  const char* what;
  std::vector<Segment> segments;
  std::vector<std::int32_t> kv_head_of;
  std::int64_t kv_heads, head_dim, capacity;
  std::int64_t window = 0;
};

inline const std::vector<AttentionCase>& attention_cases() {
  static const std::vector<AttentionCase> cases = {
      {"one token, first position", {{0, 1, 0, 0}}, {0, 0, 0}, 1, 64, 8},
      {"decode, grouped", {{0, 1, 1, 200}}, {0, 0, 0, 1, 1, 1, 2, 2, 2}, 3, 64, 256},
      {"decode, batch", {{0, 1, 2, 77}, {1, 1, 0, 3}, {2, 1, 1, 130}}, {0, 0, 1, 1}, 2, 64, 131},
      {"decode, uneven map", {{0, 1, 0, 66}}, {1, 0, 0, 1, 0}, 2, 80, 70},
      {"decode, long", {{0, 1, 0, 1500}}, {0, 0, 1}, 2, 16, 1501},
      {"prefill", {{0, 150, 0, 0}}, {0, 0, 0, 1, 1, 1, 2, 2, 2}, 3, 64, 150},
      {"prefill after a prefix", {{0, 33, 1, 40}}, {0, 0, 1}, 2, 48, 100},
      {"prefill, one head each", {{0, 70, 0, 0}}, {0, 1, 2}, 3, 128, 70},
      {"prefill, map not in order", {{0, 65, 0, 5}}, {1, 0, 1, 1, 0}, 2, 64, 80},
      {"odd head", {{0, 40, 0, 9}}, {0, 0, 1, 1}, 2, 7, 50},
      {"odd head, decode", {{0, 1, 0, 49}}, {0, 0, 1, 1}, 2, 13, 50},
      {"wide head", {{0, 20, 0, 60}}, {0, 0}, 1, 256, 80},
      {"window in decode", {{0, 1, 0, 90}}, {0, 0, 1}, 2, 64, 100, 17},
      {"window in prefill", {{0, 140, 0, 10}}, {0, 0, 1}, 2, 64, 150, 31},
      {"window of one", {{0, 30, 0, 0}}, {0, 0}, 1, 32, 30, 1},
      {"window beyond all", {{0, 30, 0, 0}}, {0, 0}, 1, 32, 30, 1000},
      {"prefill beside decode",
       {{0, 1, 2, 90}, {1, 37, 0, 0}, {38, 1, 3, 12}, {39, 12, 1, 70}},
       {0, 0, 1, 1, 1},
       2,
       64,
       100},
      {"an empty segment", {{0, 0, 0, 0}, {0, 3, 1, 2}}, {0}, 1, 8, 10},
  };
  return cases;
}

struct StoreCase {
  const char* what;
  std::vector<Segment> segments;
  std::int64_t q_heads, kv_heads, head_dim;
  std::int64_t rotary_dim = 0;  // 0: no rotation
  std::optional<NormKind> norm = std::nullopt;
};

inline const std::vector<StoreCase>& store_cases() {
  static const std::vector<StoreCase> cases = {
      {"one token", {{0, 1, 0, 5}}, 9, 3, 64, 64},
      {"no rotation", {{0, 4, 1, 2}}, 4, 4, 32},
      {"partial rotation", {{0, 4, 1, 2}}, 3, 1, 80, 32},
      {"odd pairs", {{0, 4, 1, 2}}, 3, 1, 13, 10},
      {"head norms", {{0, 3, 0, 0}}, 4, 2, 48, 48, NormKind::rms},
      {"layer norms of heads", {{0, 3, 0, 0}}, 4, 2, 11, 6, NormKind::layer},
      {"no query heads", {{0, 3, 0, 0}}, 0, 2, 16, 16},
      {"several segments", {{0, 1, 2, 9}, {1, 5, 0, 0}, {6, 1, 1, 19}}, 2, 1, 64, 64},
      {"enough for two threads", {{0, 40, 0, 3}}, 9, 3, 80, 80, NormKind::rms},
  };
  return cases;
}

}  // namespace spd::test
