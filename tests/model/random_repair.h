// Repairs of random numbers.
#pragma once

#include <cstdint>
#include <random>

#include "model/partition.h"
#include "model/repair.h"

namespace spd {

inline HostMatrix random_matrix(std::int64_t rows, std::int64_t cols, std::mt19937& random) {
  HostMatrix matrix(rows, cols);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  for (float& value : matrix.values) value = normal(random);
  return matrix;
}

// A random repair of every sync point, of shapes in turn.
inline RankRepair random_repair(const ModelConfig& config, const Partition& partition, int rank,
                                const SyncLevels& levels, unsigned seed) {
  struct Shape {
    std::int64_t k;
    bool input, inner;
  };
  const Shape shapes[] = {{16, true, false}, {0, false, false}, {3, true, true}, {8, false, true}};
  std::mt19937 random(seed + rank);
  RankRepair repair(config.blocks);
  std::size_t next = 0;
  for (std::int64_t block = 0; block < config.blocks; ++block) {
    const BlockShard& shard = partition.blocks[block][rank];
    for (const SyncPoint point : {SyncPoint::attn, SyncPoint::mlp}) {
      const auto inner = static_cast<std::int64_t>(
          point == SyncPoint::attn ? shard.q_heads.size() * config.head_dim : shard.neurons.size());
      const Shape& shape = shapes[next++ % 4];
      Prediction prediction;
      prediction.level = levels.at(block, point);
      if (shape.input) prediction.from_input = random_matrix(shape.k, config.hidden, random);
      if (shape.inner) prediction.from_inner = random_matrix(shape.k, inner, random);
      if (shape.k > 0) prediction.to_hidden = random_matrix(config.hidden, shape.k, random);
      prediction.mean = random_matrix(1, config.hidden, random);
      repair[block].prediction[point] = prediction;
    }
  }
  return repair;
}

}  // namespace spd
