// Which query head, which MLP neuron and which vocabulary rows live on which rank.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace spd {

/// What one rank holds of one block, in the order in which its shard stores it.
struct BlockShard {
  std::vector<std::int32_t> q_heads;  ///< query heads
  std::vector<std::int32_t> neurons;  ///< MLP neurons

  /// KV heads that the query heads need, ascending; replicated where other ranks need them too.
  std::vector<std::int32_t> kv_heads(const ModelConfig& config) const;
  /// For each local query head the index of its KV head in kv_heads().
  std::vector<std::int32_t> kv_head_of(const ModelConfig& config) const;
};

/// Rows [first, first + count) of the vocabulary projection.
struct VocabRange {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// An explicit value, so that head grouping and neuron placement are just other partitions.
struct Partition {
  std::vector<std::vector<BlockShard>> blocks;  ///< [blocks][ranks]
  std::vector<VocabRange> vocab;                ///< [ranks]

  int ranks() const { return static_cast<int>(vocab.size()); }

  /// Consecutive heads and neurons, as evenly as they go; the first ranks take the remainder.
  /// Throws usage Error where there are more ranks than query heads.
  static Partition contiguous(const ModelConfig& config, int ranks);

  /// Throws input Error (naming block and head or neuron) unless every query head and neuron is on
  /// exactly one rank, every rank has at least one of each, and the vocabulary is covered in order.
  void validate(const ModelConfig& config) const;

  nlohmann::json to_json() const;
  static Partition from_json(const nlohmann::json& json, const ModelConfig& config);

  bool operator==(const Partition&) const;
};

/// `count` things over `parts` parts: part i has count / parts, the first count % parts one more.
VocabRange even_share(std::int64_t count, int parts, int part);

}  // namespace spd
