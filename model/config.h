// A model's configuration: what a checkpoint's config.json says, as one description that covers
// every supported family.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/operators.h"

namespace spd {

enum class Family { llama, mistral, qwen2, qwen3, opt };
std::string_view name(Family family);

enum class RopeScaling { none, linear, dynamic, llama3, yarn };

/// Rotary positions. Angles of pair i at position p: p * inverse_frequency[i], scaled as `scaling`.
struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1.0;
  double low_freq_factor = 1.0;             ///< llama3
  double high_freq_factor = 4.0;            ///< llama3
  std::int64_t original_max_positions = 0;  ///< llama3, yarn, dynamic: the length trained on
  double beta_fast = 32.0;                  ///< yarn
  double beta_slow = 1.0;                   ///< yarn
  bool truncate = true;                     ///< yarn: round the ramp's ends to whole pairs
  std::optional<double> attention_factor;   ///< yarn: multiplies cosines and sines
};

/// A decoder-only transformer. Names follow Hugging Face's config.json.
struct ModelConfig {
  Family family = Family::llama;
  std::string architecture;  ///< e.g. "LlamaForCausalLM"
  std::int64_t hidden = 0;
  std::int64_t blocks = 0;
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t mlp = 0;  ///< intermediate size
  std::int64_t vocab = 0;
  std::int64_t max_positions = 0;
  std::int64_t window = 0;            ///< sliding attention window, 0: none
  std::vector<bool> window_of_block;  ///< [blocks]: whether the window applies to that block
  NormKind norm = NormKind::rms;
  float norm_epsilon = 1e-5f;
  bool gated_mlp = true;
  Epilogue activation = Epilogue::gated_silu;  ///< gated_* where gated_mlp, plain otherwise
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;               ///< per-head RMS norm of q and k (Qwen3)
  bool tied_embeddings = false;       ///< lm_head is the embedding
  bool learned_positions = false;     ///< OPT: a table instead of rotation ...
  std::int64_t position_offset = 0;   ///< ... whose row for position p is p + offset (OPT: 2)
  std::optional<RopeConfig> rope;     ///< none where positions are learned
  DType dtype = DType::f32;           ///< what the checkpoint says it is stored in
  std::vector<std::int32_t> eos_ids;  ///< from generation_config.json too, if there
  std::optional<std::int32_t> bos_id;

  std::int64_t queries_per_kv() const { return q_heads / kv_heads; }

  /// Reads DIR/config.json (or the file itself). Throws input Error naming the file and key for
  /// what is missing, contradictory or not supported (unknown architecture, post-norm OPT, ...).
  static ModelConfig load(const std::filesystem::path& dir_or_file);
};

/// Inverse frequencies, [head_dim / 2], after scaling, and the factor on cosines and sines.
/// `length`: the longest sequence to be run (dynamic scaling depends on it).
struct RopeFrequencies {
  std::vector<double> inverse;
  double amplitude = 1.0;
};
RopeFrequencies rope_frequencies(const ModelConfig& config, std::int64_t length);

}  // namespace spd
