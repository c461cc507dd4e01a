#include "model/tensor_names.h"

#include <fmt/format.h>

namespace spd {

TensorNames tensor_names(const ModelConfig& config) {
  if (config.family == Family::opt) {
    return {"model.decoder.embed_tokens", "model.decoder.embed_positions",
            "model.decoder.final_layer_norm", "lm_head", "model.decoder.layers"};
  }
  return {"model.embed_tokens", "", "model.norm", "lm_head", "model.layers"};
}

BlockNames block_names(const ModelConfig& config, std::int64_t block) {
  const std::string prefix = fmt::format("{}.{}.", tensor_names(config).block_prefix, block);
  BlockNames names;
  names.q = prefix + "self_attn.q_proj";
  names.k = prefix + "self_attn.k_proj";
  names.v = prefix + "self_attn.v_proj";
  if (config.family == Family::opt) {
    names.o = prefix + "self_attn.out_proj";
    names.attn_norm = prefix + "self_attn_layer_norm";
    names.mlp_norm = prefix + "final_layer_norm";
    names.up = prefix + "fc1";
    names.down = prefix + "fc2";
    return names;
  }
  names.o = prefix + "self_attn.o_proj";
  names.attn_norm = prefix + "input_layernorm";
  names.mlp_norm = prefix + "post_attention_layernorm";
  if (config.qk_norm) {
    names.q_norm = prefix + "self_attn.q_norm";
    names.k_norm = prefix + "self_attn.k_norm";
  }
  names.gate = prefix + "mlp.gate_proj";
  names.up = prefix + "mlp.up_proj";
  names.down = prefix + "mlp.down_proj";
  return names;
}

}  // namespace spd
