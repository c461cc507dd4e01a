// What Hugging Face checkpoints call the tensors of each family.
#pragma once

#include <cstdint>
#include <string>

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

TensorNames tensor_names(const ModelConfig& config);
BlockNames block_names(const ModelConfig& config, std::int64_t block);

}  // namespace spd
