#include "model/fingerprint.h"

#include <fmt/format.h>

#include "model/hash.h"

namespace spd {
namespace {

// Names, not the enumerators' numbers: fingerprints outlive a change of their order.
const char* text_of(RopeScaling scaling) {
  switch (scaling) {
    case RopeScaling::none:
      return "none";
    case RopeScaling::linear:
      return "linear";
    case RopeScaling::dynamic:
      return "dynamic";
    case RopeScaling::llama3:
      return "llama3";
    case RopeScaling::yarn:
      return "yarn";
  }
  return "unknown";
}

const char* text_of(Epilogue activation) {
  switch (activation) {
    case Epilogue::none:
      return "none";
    case Epilogue::relu:
      return "relu";
    case Epilogue::gelu:
      return "gelu";
    case Epilogue::gelu_tanh:
    case Epilogue::gated_gelu_tanh:
      return "gelu_tanh";
    case Epilogue::silu:
    case Epilogue::gated_silu:
      return "silu";
  }
  return "unknown";
}

/// Only what the kind of scaling uses.
std::string rope_text(const RopeConfig& rope) {
  std::string text =
      fmt::format("rope.theta={}\nrope.scaling={}\n", rope.theta, text_of(rope.scaling));
  const auto add = [&](const char* key, auto value) {
    text += fmt::format("rope.{}={}\n", key, value);
  };
  if (rope.scaling == RopeScaling::none) return text;
  add("factor", rope.factor);
  if (rope.scaling == RopeScaling::linear) return text;
  add("original_max_positions", rope.original_max_positions);
  if (rope.scaling == RopeScaling::llama3) {
    add("low_freq_factor", rope.low_freq_factor);
    add("high_freq_factor", rope.high_freq_factor);
  }
  if (rope.scaling == RopeScaling::yarn) {
    add("beta_fast", rope.beta_fast);
    add("beta_slow", rope.beta_slow);
    add("truncate", rope.truncate);
    add("attention_factor", rope.attention_factor.value_or(1.0));
  }
  return text;
}

}  // namespace

std::string fingerprint_text(const ModelConfig& config) {
  std::string text;
  const auto add = [&](const char* key, const auto& value) {
    text += fmt::format("{}={}\n", key, value);
  };
  add("family", name(config.family));
  add("hidden", config.hidden);
  add("blocks", config.blocks);
  add("q_heads", config.q_heads);
  add("kv_heads", config.kv_heads);
  add("head_dim", config.head_dim);
  add("mlp", config.mlp);
  add("vocab", config.vocab);
  std::string windows;
  for (const bool windowed : config.window_of_block) windows += windowed ? '1' : '0';
  if (windows.find('1') != std::string::npos) {
    add("window", config.window);
    add("window_of_block", windows);
  }
  add("norm", config.norm == NormKind::rms ? "rms" : "layer");
  add("norm_epsilon", config.norm_epsilon);
  add("gated_mlp", config.gated_mlp);
  add("activation", text_of(config.activation));
  add("qkv_bias", config.qkv_bias);
  add("o_bias", config.o_bias);
  add("mlp_bias", config.mlp_bias);
  add("qk_norm", config.qk_norm);
  add("tied_embeddings", config.tied_embeddings);
  if (config.learned_positions) {
    add("learned_positions", config.max_positions);
    add("position_offset", config.position_offset);
  }
  if (config.rope) text += rope_text(*config.rope);
  return text;
}

std::string fingerprint(const ModelConfig& config) { return hash_text(fingerprint_text(config)); }

}  // namespace spd
