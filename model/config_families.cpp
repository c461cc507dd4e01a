#include "model/config_families.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace spd {
namespace {

// Of what a model may be, but none that runs here is.
constexpr const char* kOtherModel = "use a model that does without it";

// A file cannot make us allocate per-block tables beyond this.
constexpr std::int64_t kMaxBlocks = 65536;

void read_sizes(const JsonObject& json, ModelConfig& config) {
  config.vocab = json.integer("vocab_size", 1);
  config.hidden = json.integer("hidden_size", 1);
  config.blocks = json.integer("num_hidden_layers", 1);
  if (config.blocks > kMaxBlocks) {
    json.fail("num_hidden_layers", fmt::format("is above {}, the most supported", kMaxBlocks),
              kOtherModel);
  }
  config.q_heads = json.integer("num_attention_heads", 1);
  config.max_positions = json.whole_number("max_position_embeddings", 1);
  config.window_of_block.assign(static_cast<std::size_t>(config.blocks), false);
}

/// Without "head_dim" the heads share the hidden size out among themselves.
std::int64_t divided_head_dim(const JsonObject& json, const ModelConfig& config) {
  if (config.hidden % config.q_heads != 0) {
    json.fail("hidden_size",
              fmt::format("({}) must be a multiple of num_attention_heads ({}) where there is no "
                          "head_dim",
                          config.hidden, config.q_heads));
  }
  return config.hidden / config.q_heads;
}

Epilogue read_activation(const JsonObject& json, const std::string& key,
                         const std::string& fallback, bool gated) {
  struct Row {
    std::string_view name;
    Epilogue gated;
    Epilogue plain;
  };
  static constexpr std::array kRows{
      Row{"silu", Epilogue::gated_silu, Epilogue::silu},
      Row{"swish", Epilogue::gated_silu, Epilogue::silu},
      Row{"gelu_pytorch_tanh", Epilogue::gated_gelu_tanh, Epilogue::gelu_tanh},
      Row{"gelu_new", Epilogue::gated_gelu_tanh, Epilogue::gelu_tanh},
      Row{"gelu", Epilogue::none, Epilogue::gelu},
      Row{"relu", Epilogue::none, Epilogue::relu},
  };
  const std::string name = json.string_or(key, fallback);
  std::string known;
  for (const Row& row : kRows) {
    const Epilogue epilogue = gated ? row.gated : row.plain;
    if (epilogue == Epilogue::none) continue;
    if (row.name == name) return epilogue;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  }
  json.fail(key, fmt::format("\"{}\" is not supported here; supported: {}", name, known),
            kOtherModel);
}

/// Some files say -1 for "none".
std::int32_t read_token_id(const JsonObject& json, const std::string& key) {
  return static_cast<std::int32_t>(json.integer(key, -1));
}

/// null means none; a key that is not there means what the family's class says.
void read_bos_and_eos(const JsonObject& json, ModelConfig& config,
                      std::optional<std::int32_t> default_bos,
                      std::optional<std::int32_t> default_eos) {
  config.bos_id = default_bos;
  if (json.contains("bos_token_id")) {
    config.bos_id.reset();
    if (json.has("bos_token_id")) config.bos_id = read_token_id(json, "bos_token_id");
  }
  if (json.contains("eos_token_id")) {
    add_eos_ids(json, config);
  } else if (default_eos) {
    config.eos_ids.push_back(*default_eos);
  }
}

/// Added to a mean square: what is no small number would drown it.
float read_norm_epsilon(const JsonObject& json) {
  constexpr const char* kKey = "rms_norm_eps";
  const double epsilon = json.number_or(kKey, 0.0, 1e-6);
  if (epsilon > 1.0) json.fail(kKey, fmt::format("({}) must not be above 1", epsilon));
  return static_cast<float>(epsilon);
}

/// What LLaMA, Mistral and Qwen have in common: RMS norms, rotation, a gated MLP.
void read_llama_like(const JsonObject& json, ModelConfig& config,
                     std::optional<std::int64_t> default_kv_heads) {
  read_sizes(json, config);
  config.mlp = json.integer("intermediate_size", 1);
  // null means as many as query heads, in every family.
  const bool kv_missing = !json.contains("num_key_value_heads") && default_kv_heads;
  config.kv_heads =
      kv_missing ? *default_kv_heads : json.integer_or("num_key_value_heads", 1, config.q_heads);
  if (config.q_heads % config.kv_heads != 0) {
    json.fail("num_attention_heads",
              fmt::format("({}) must be a multiple of num_key_value_heads ({}{})", config.q_heads,
                          config.kv_heads, kv_missing ? ", the default" : ""));
  }
  config.norm = NormKind::rms;
  config.norm_epsilon = read_norm_epsilon(json);
  config.gated_mlp = true;
  config.activation = read_activation(json, "hidden_act", "silu", true);
  config.tied_embeddings = json.boolean_or("tie_word_embeddings", false);
}

/// Once head_dim is known.
void read_rotation(const JsonObject& json, ModelConfig& config) {
  if (config.head_dim % 2 != 0) {
    json.fail("head_dim",
              fmt::format("({}) must be even: positions are rotations of pairs", config.head_dim));
  }
  config.rope = read_rope(json, config);
}

void read_llama(const JsonObject& json, ModelConfig& config) {
  read_llama_like(json, config, std::nullopt);
  config.head_dim =
      json.has("head_dim") ? json.integer("head_dim", 1) : divided_head_dim(json, config);
  const bool attention_bias = json.boolean_or("attention_bias", false);
  config.qkv_bias = attention_bias;
  config.o_bias = attention_bias;
  config.mlp_bias = json.boolean_or("mlp_bias", false);
  read_rotation(json, config);
  read_bos_and_eos(json, config, 1, 2);
}

void read_mistral(const JsonObject& json, ModelConfig& config) {
  constexpr std::int64_t kDefaultKvHeads = 8;
  constexpr std::int64_t kDefaultWindow = 4096;
  read_llama_like(json, config, kDefaultKvHeads);
  config.head_dim =
      json.has("head_dim") ? json.integer("head_dim", 1) : divided_head_dim(json, config);
  if (!json.contains("sliding_window")) {
    config.window = kDefaultWindow;
  } else if (json.has("sliding_window")) {
    config.window = json.integer("sliding_window", 1);
  }
  config.window_of_block.assign(config.window_of_block.size(), config.window > 0);
  read_rotation(json, config);
  read_bos_and_eos(json, config, 1, 2);
}

/// Qwen's windows: switched on by use_sliding_window, for the blocks from max_window_layers on, or
/// for those that layer_types names.
void read_qwen_windows(const JsonObject& json, ModelConfig& config) {
  constexpr std::int64_t kDefaultWindow = 4096;
  constexpr std::int64_t kDefaultFullLayers = 28;
  if (json.boolean_or("use_sliding_window", false)) {
    const bool none = json.contains("sliding_window") && !json.has("sliding_window");
    config.window = none ? 0 : json.integer_or("sliding_window", 1, kDefaultWindow);
  }
  const std::int64_t full_layers = json.integer_or("max_window_layers", 0, kDefaultFullLayers);
  for (std::int64_t block = 0; block < config.blocks; ++block) {
    config.window_of_block[static_cast<std::size_t>(block)] =
        config.window > 0 && block >= full_layers;
  }
  if (!json.has("layer_types")) return;
  const std::vector<std::string> types = json.strings("layer_types");
  if (types.size() != config.window_of_block.size()) {
    json.fail("layer_types", fmt::format("has {} entries for {} blocks (num_hidden_layers)",
                                         types.size(), config.blocks));
  }
  for (std::size_t block = 0; block < types.size(); ++block) {
    const bool sliding = types[block] == "sliding_attention";
    if (!sliding && types[block] != "full_attention") {
      json.fail("layer_types",
                fmt::format("\"{}\" of block {} is not supported; supported: "
                            "full_attention, sliding_attention",
                            types[block], block),
                kOtherModel);
    }
    if (sliding && config.window == 0) {
      json.fail("layer_types", fmt::format("gives block {} a sliding window, but "
                                           "use_sliding_window and sliding_window give none",
                                           block));
    }
    config.window_of_block[block] = sliding;
  }
}

void read_qwen2(const JsonObject& json, ModelConfig& config) {
  constexpr std::int64_t kDefaultKvHeads = 32;
  read_llama_like(json, config, kDefaultKvHeads);
  config.head_dim =
      json.has("head_dim") ? json.integer("head_dim", 1) : divided_head_dim(json, config);
  config.qkv_bias = true;
  read_qwen_windows(json, config);
  read_rotation(json, config);
  read_bos_and_eos(json, config, std::nullopt, std::nullopt);
}

void read_qwen3(const JsonObject& json, ModelConfig& config) {
  constexpr std::int64_t kDefaultKvHeads = 32;
  constexpr std::int64_t kDefaultHeadDim = 128;
  read_llama_like(json, config, kDefaultKvHeads);
  config.head_dim = json.integer_or("head_dim", 1, kDefaultHeadDim);
  const bool attention_bias = json.boolean_or("attention_bias", false);
  config.qkv_bias = attention_bias;
  config.o_bias = attention_bias;
  config.qk_norm = true;
  read_qwen_windows(json, config);
  read_rotation(json, config);
  read_bos_and_eos(json, config, std::nullopt, std::nullopt);
}

void read_opt(const JsonObject& json, ModelConfig& config) {
  constexpr std::int64_t kPositionOffset = 2;
  const std::string remedy = "use another OPT size: only opt-350m has this form";
  if (!json.boolean_or("do_layer_norm_before", true)) {
    json.fail("do_layer_norm_before", "false (post-norm OPT) is not supported", remedy);
  }
  read_sizes(json, config);
  if (json.integer_or("word_embed_proj_dim", 1, config.hidden) != config.hidden) {
    json.fail("word_embed_proj_dim",
              fmt::format("differs from hidden_size ({}): projected embeddings are not supported",
                          config.hidden),
              remedy);
  }
  if (json.boolean_or("_remove_final_layer_norm", false)) {
    json.fail("_remove_final_layer_norm", "true is not supported", kOtherModel);
  }
  if (!json.boolean_or("layer_norm_elementwise_affine", true)) {
    json.fail("layer_norm_elementwise_affine", "false is not supported", kOtherModel);
  }
  config.mlp = json.integer("ffn_dim", 1);
  config.kv_heads = config.q_heads;
  config.head_dim = divided_head_dim(json, config);
  config.norm = NormKind::layer;
  config.norm_epsilon = 1e-5F;  // the layer's own default; config.json has no key for it
  config.gated_mlp = false;
  config.activation = read_activation(json, "activation_function", "relu", false);
  const bool biases = json.boolean_or("enable_bias", true);
  config.qkv_bias = biases;
  config.o_bias = biases;
  config.mlp_bias = biases;
  config.tied_embeddings = json.boolean_or("tie_word_embeddings", true);
  config.learned_positions = true;
  config.position_offset = kPositionOffset;
  read_bos_and_eos(json, config, 2, 2);
}

constexpr std::array kReaders{
    FamilyReader{"LlamaForCausalLM", Family::llama, read_llama},
    FamilyReader{"MistralForCausalLM", Family::mistral, read_mistral},
    FamilyReader{"Qwen2ForCausalLM", Family::qwen2, read_qwen2},
    FamilyReader{"Qwen3ForCausalLM", Family::qwen3, read_qwen3},
    FamilyReader{"OPTForCausalLM", Family::opt, read_opt},
};

}  // namespace

std::span<const FamilyReader> family_readers() { return kReaders; }

void add_eos_ids(const JsonObject& json, ModelConfig& config) {
  constexpr const char* kKey = "eos_token_id";
  if (!json.has(kKey)) return;
  std::vector<std::int32_t> ids;
  if (json.raw(kKey).is_array()) {
    ids = json.integers(kKey, -1);
  } else {
    ids.push_back(read_token_id(json, kKey));
  }
  for (const std::int32_t id : ids) {
    const auto end = config.eos_ids.end();
    if (std::find(config.eos_ids.begin(), end, id) == end) config.eos_ids.push_back(id);
  }
}

}  // namespace spd
