// The tensor names of Hugging Face checkpoints, by family.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace spd {

/// Names of one block's modules; ".weight" and ".bias" come behind. Empty where a family has none.
struct BlockNames {
  std::string q, k, v, o;
  std::string q_norm, k_norm;
  std::string attn_norm, mlp_norm;
  std::string gate, up, down;  ///< plain MLPs have no gate
};

struct TensorNames {
  std::string embedding;
  std::string positions;  ///< learned position table
  std::string final_norm;
  std::string lm_head;
  std::string block_prefix;
};

/// By the config's family. Names that are no part of a block, and those of a block.
TensorNames tensor_names(const ModelConfig& config);
BlockNames block_names(const ModelConfig& config, std::int64_t block);

/// A tensor as a configuration wants it.
struct WantedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// All tensors of one block.
std::vector<WantedTensor> block_tensors(const ModelConfig& config, std::int64_t block);
/// Those that belong to no block: embedding, learned positions, last norm and the projection to the
/// vocabulary (also where it may be the embedding).
std::vector<WantedTensor> outer_tensors(const ModelConfig& config);

}  // namespace spd
