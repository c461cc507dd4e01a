#include "model/kv_cache.h"

namespace spd {

KvCache::KvCache(Device& device, const ModelConfig& config, const Partition& partition, int rank,
                 const KvCacheOptions& options)
    : options_(options) {
  for (const auto& shards : partition.blocks) {
    KvLayer layer;
    layer.dtype = options.dtype;
    layer.slots = options.slots;
    layer.kv_heads = static_cast<std::int64_t>(shards.at(rank).kv_heads(config).size());
    layer.capacity = options.capacity;
    layer.head_dim = config.head_dim;
    const std::size_t bytes =
        static_cast<std::size_t>(layer.slots * layer.kv_heads * layer.capacity * layer.head_dim) *
        size_of(options.dtype);
    layer.keys = buffers_.emplace_back(device, bytes).data();
    layer.values = buffers_.emplace_back(device, bytes).data();
    layers_.push_back(layer);
  }
}

std::size_t KvCache::bytes() const {
  std::size_t total = 0;
  for (const Buffer& buffer : buffers_) total += buffer.bytes();
  return total;
}

}  // namespace spd
