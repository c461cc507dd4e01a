// One rank's share of the weights, laid out as the operators want them.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/operators.h"
#include "model/config.h"
#include "model/partition.h"
#include "model/weight_source.h"

namespace spd {

/// A vector on the device, f32; data() is null where the model has none.
struct DeviceVector {
  Buffer storage;
  const float* data() const { return static_cast<const float*>(storage.data()); }
};

/// A norm and the memory behind it.
struct NormWeights {
  DeviceVector weight, bias;
  NormKind kind = NormKind::rms;
  float epsilon = 0.0f;
  Norm view() const { return {kind, weight.data(), bias.data(), epsilon}; }
};

/// Shapes with q = local query heads, kv = local KV heads, hd = head size, n = local neurons.
struct BlockWeights {
  std::vector<std::int32_t> kv_head_of;  ///< [q]: local KV head of each local query head
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t neurons = 0;
  NormWeights attn_norm, mlp_norm;  // [hidden]
  NormWeights q_norm, k_norm;       // [hd], where config.qk_norm
  Weight qkv;                       // [(q + 2 kv) * hd, hidden]: q, k, v
  DeviceVector qkv_bias;            // [(q + 2 kv) * hd]
  Weight o;                         // [hidden, q * hd]
  DeviceVector o_bias;              // [hidden], identical on every rank
  Weight up;                        // [2 n, hidden]: gate, up; plain MLPs: [n, hidden]
  DeviceVector up_bias;             // [2 n] or [n]
  Weight down;                      // [hidden, n]
  DeviceVector down_bias;           // [hidden], identical on every rank
};

struct Shard {
  std::vector<BlockWeights> blocks;
  NormWeights final_norm;  // [hidden]
  Weight lm_head;          // [local vocabulary, hidden]
  HostTable embedding;  // [vocab, hidden], whole, in the source's memory: only rows used are read
  HostTable positions;  // [positions + offset, hidden], where positions are learned
};

/// Loads rank `rank`'s shard. The source must outlive it. `progress(done, of)`, if given, is called
/// as blocks are loaded. Throws input Error for missing or misshapen tensors.
Shard load_shard(const ModelConfig& config, const Partition& partition, int rank,
                 WeightSource& source, Operators& operators,
                 const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace spd
