#include "model/checkpoint/tensor_names.h"

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

namespace {

class WantedList {
 public:
  /// [rows, cols] and, where it has one, a bias of [rows].
  void matrix(const std::string& module, std::int64_t rows, std::int64_t cols, bool bias) {
    if (module.empty()) return;
    tensors_.push_back({module + ".weight", {rows, cols}});
    if (bias) tensors_.push_back({module + ".bias", {rows}});
  }
  void norm(const std::string& module, std::int64_t size, NormKind kind) {
    if (module.empty()) return;
    tensors_.push_back({module + ".weight", {size}});
    if (kind == NormKind::layer) tensors_.push_back({module + ".bias", {size}});
  }
  std::vector<WantedTensor> take() { return std::move(tensors_); }

 private:
  std::vector<WantedTensor> tensors_;
};

}  // namespace

std::vector<WantedTensor> block_tensors(const ModelConfig& config, std::int64_t block) {
  const BlockNames names = block_names(config, block);
  const std::int64_t q = config.q_heads * config.head_dim;
  const std::int64_t kv = config.kv_heads * config.head_dim;
  WantedList list;
  list.norm(names.attn_norm, config.hidden, config.norm);
  list.norm(names.mlp_norm, config.hidden, config.norm);
  list.norm(names.q_norm, config.head_dim, NormKind::rms);
  list.norm(names.k_norm, config.head_dim, NormKind::rms);
  list.matrix(names.q, q, config.hidden, config.qkv_bias);
  list.matrix(names.k, kv, config.hidden, config.qkv_bias);
  list.matrix(names.v, kv, config.hidden, config.qkv_bias);
  list.matrix(names.o, config.hidden, q, config.o_bias);
  list.matrix(names.gate, config.mlp, config.hidden, config.mlp_bias);
  list.matrix(names.up, config.mlp, config.hidden, config.mlp_bias);
  list.matrix(names.down, config.hidden, config.mlp, config.mlp_bias);
  return list.take();
}

std::vector<WantedTensor> outer_tensors(const ModelConfig& config) {
  const TensorNames names = tensor_names(config);
  WantedList list;
  list.matrix(names.embedding, config.vocab, config.hidden, false);
  list.matrix(names.positions, config.max_positions + config.position_offset, config.hidden, false);
  list.norm(names.final_norm, config.hidden, config.norm);
  list.matrix(names.lm_head, config.vocab, config.hidden, false);
  return list.take();
}

}  // namespace spd
