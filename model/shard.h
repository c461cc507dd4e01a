// A shard: one rank's part of the weights, laid out as the operators want them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/operators.h"
#include "model/checkpoint/weight_source.h"
#include "model/config.h"
#include "model/partition.h"
#include "model/sync_levels.h"

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

/// What predicts a view's missing sum behind a sync point (see model/repair.h). k may be 0.
struct PredictionWeights {
  SyncLevel level = SyncLevel::drop;  ///< the level at which it is used
  Weight from_input;                  // [k, hidden], of the sub-layer's normed input; rows 0: none
  Weight from_inner;                  // [k, inner], of its heads' outputs or neurons; rows 0: none
  Weight to_hidden;                   // [hidden, k]; rows 0: the mean alone
  DeviceVector mean;                  // [hidden]
  std::int64_t k() const { return to_hidden.rows == 0 ? 0 : to_hidden.cols; }
  /// Of the matrices: what they multiply a token by.
  std::int64_t elements() const {
    return from_input.elements() + from_inner.elements() + to_hidden.elements();
  }
};

/// What a repair replaced in a block, by the members of BlockWeights (norms: their weights).
struct UnrepairedTensors {
  std::optional<Weight> qkv, o, gate_up, down;
  std::optional<DeviceVector> qkv_bias, o_bias, gate_up_bias, down_bias;
  PerPoint<std::optional<DeviceVector>> norm;
};

/// The weights of one sub-layer as a step reads them: attention, or the MLP. Shapes as in
/// BlockWeights.
struct SubLayerWeights {
  Norm norm;
  const Weight* in = nullptr;                     ///< qkv, or gate_up
  const float* in_bias = nullptr;                 ///< null: none
  const Weight* out = nullptr;                    ///< o, or down
  const float* shared_bias = nullptr;             ///< null: none
  const PredictionWeights* prediction = nullptr;  ///< null: none
};

/// Shapes with q = local query heads, kv = local KV heads, hd = head size, n = local neurons.
struct BlockWeights {
  std::vector<std::int32_t> kv_head_of;  ///< [q]: local KV head of each local query head
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t neurons = 0;
  PerPoint<NormWeights> norm;  // [hidden]
  NormWeights q_norm, k_norm;  // [hd], where config.qk_norm
  Weight qkv;                  // [(q + 2 kv) * hd, hidden]: q, k, v
  DeviceVector qkv_bias;       // [(q + 2 kv) * hd]
  Weight o;                    // [hidden, q * hd]
  DeviceVector o_bias;         // [hidden], identical on every rank
  Weight gate_up;              // [2 n, hidden]: gate, up; plain MLPs: [n, hidden]
  DeviceVector gate_up_bias;   // [2 n] or [n]
  Weight down;                 // [hidden, n]
  DeviceVector down_bias;      // [hidden], identical on every rank
  PerPoint<std::optional<PredictionWeights>> prediction;  // used where the sync is not full

  // A repair was made for missing sums, so a step that leaves out none of the block's own syncs
  // uses these instead.
  UnrepairedTensors unrepaired;

  /// Of the block's own matrices: what they multiply a token by.
  std::int64_t elements() const {
    return qkv.elements() + o.elements() + gate_up.elements() + down.elements();
  }
  /// The weights of the sub-layer before `point`; `whole`: the step pays for both of the block's
  /// syncs.
  SubLayerWeights sub_layer(SyncPoint point, bool whole) const;
};

struct Shard {
  std::vector<BlockWeights> blocks;
  NormWeights final_norm;  // [hidden]
  Weight lm_head;          // [local vocabulary, hidden]
  HostTable embedding;  // [vocab, hidden], whole, in the source's memory: only rows used are read
  HostTable positions;  // [positions + offset, hidden], where positions are learned
};

/// Loads what `shard` says of one block. Throws as load_shard does.
BlockWeights load_block(const ModelConfig& config, std::int64_t block, const BlockShard& shard,
                        WeightSource& source, Operators& operators);

/// Loads rank `rank`'s shard. The source must outlive it. `progress(done, of)`, if given, is called
/// as blocks are loaded. Throws input Error for missing or misshapen tensors.
Shard load_shard(const ModelConfig& config, const Partition& partition, int rank,
                 WeightSource& source, Operators& operators,
                 const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace spd
