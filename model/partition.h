// The partition of a model: which query head, which MLP neuron and which vocabulary rows live on
// which rank.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace spd {

class JsonObject;

/// What one rank holds of one block, in the order in which its shard stores it.
struct BlockShard {
  std::vector<std::int32_t> q_heads;  ///< query heads
  std::vector<std::int32_t> neurons;  ///< MLP neurons

  /// KV heads that the query heads need, ascending; replicated where other ranks need them too.
  std::vector<std::int32_t> kv_heads(const ModelConfig& config) const;
  /// {"q_heads": [...], "neurons": [...]} and back; what they name is not checked.
  nlohmann::json to_json() const;
  static BlockShard from_json(const JsonObject& json);
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
  /// Reads what to_json wrote, validated, for so many ranks. Throws input Error naming file and
  /// key.
  static Partition from_json(const JsonObject& json, const ModelConfig& config, int ranks);

  bool operator==(const Partition&) const;
};

/// `count` things over `parts` parts: part i has count / parts, the first count % parts one more.
VocabRange even_share(std::int64_t count, int parts, int part);

}  // namespace spd
