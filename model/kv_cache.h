// Keys and values of past positions, for the KV heads of one rank.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/operators.h"
#include "model/config.h"
#include "model/partition.h"

namespace spd {

struct KvCacheOptions {
  std::int64_t slots = 1;     ///< sequences held at a time
  std::int64_t capacity = 0;  ///< positions a sequence may have
  DType dtype = DType::f16;
};

/// Fixed buffers, one pair a block, [slots, kv_heads, capacity, head_dim] each (see KvLayer);
/// memory is used as positions are written. Which slot holds which sequence, and how far, is the
/// caller's business.
class KvCache {
 public:
  /// For the KV heads of `rank`. Throws system Error when memory is short.
  KvCache(Device& device, const ModelConfig& config, const Partition& partition, int rank,
          const KvCacheOptions& options);

  const KvLayer& layer(std::int64_t block) const { return layers_.at(block); }
  std::int64_t slots() const { return options_.slots; }
  std::int64_t capacity() const { return options_.capacity; }
  std::size_t bytes() const;

 private:
  KvCacheOptions options_;
  std::vector<Buffer> buffers_;  // keys, values, keys, values, ...
  std::vector<KvLayer> layers_;
};

}  // namespace spd
