// The config.json of a small model, to be changed by tests.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "model/config.h"
#include "tests/model/temp_dir.h"

namespace spd {

inline ModelConfig load_config(const nlohmann::json& config) {
  const TempDir dir;
  dir.write("config.json", config.dump());
  return ModelConfig::load(dir.path());
}

inline nlohmann::json small_llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 64},
          {"intermediate_size", 88},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 4},
          {"vocab_size", 131},
          {"max_position_embeddings", 128}};
}

inline nlohmann::json small(const char* architecture) {
  nlohmann::json result = small_llama();
  result["architectures"] = {architecture};
  if (std::string_view(architecture) == "OPTForCausalLM") {
    result["ffn_dim"] = result["intermediate_size"];
    result.erase("intermediate_size");
  } else if (std::string_view(architecture) != "LlamaForCausalLM") {
    result["num_key_value_heads"] = 2;  // their classes' defaults do not fit four heads
  }
  return result;
}

}  // namespace spd
