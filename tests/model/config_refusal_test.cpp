// Configurations that are refused, by file, key and remedy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/small_config.h"

namespace spd {
namespace {

using nlohmann::json;

struct Refused {
  const char* architecture;
  std::string patch;  // merged into the small config (RFC 7396: null removes a key)
  std::vector<std::string> parts;
};

TEST(Config, RefusesByNamingTheKey) {
  const char* llama = "LlamaForCausalLM";
  const char* mistral = "MistralForCausalLM";
  const char* qwen2 = "Qwen2ForCausalLM";
  const char* opt = "OPTForCausalLM";
  const std::vector<Refused> rows{
      // missing
      {llama, R"({"architectures": null})", {"architectures is missing, and so is model_type"}},
      {llama,
       R"({"architectures": null, "model_type": "gpt2"})",
       {"model_type \"gpt2\" is not supported", "LlamaForCausalLM"}},
      {llama,
       R"({"model_type": "mistral"})",
       {"\"LlamaForCausalLM\" is of another family than model_type \"mistral\""}},
      {llama, R"({"architectures": []})", {"architectures is an empty list"}},
      {llama, R"({"architectures": "LlamaForCausalLM"})", {"architectures must be a list"}},
      {llama, R"({"architectures": [3]})", {"architectures must be a list of strings"}},
      {llama, R"({"hidden_size": null})", {"hidden_size is missing"}},
      {llama, R"({"intermediate_size": null})", {"intermediate_size is missing"}},
      {llama, R"({"num_hidden_layers": null})", {"num_hidden_layers is missing"}},
      {llama, R"({"num_attention_heads": null})", {"num_attention_heads is missing"}},
      {llama, R"({"vocab_size": null})", {"vocab_size is missing"}},
      {llama, R"({"max_position_embeddings": null})", {"max_position_embeddings is missing"}},
      {opt, R"({"ffn_dim": null})", {"ffn_dim is missing"}},
      // not what they should be
      {llama, R"({"hidden_size": "64"})", {"hidden_size must be an integer", "\"64\""}},
      {llama, R"({"hidden_size": 64.0})", {"hidden_size must be an integer", "64.0"}},
      {llama, R"({"hidden_size": true})", {"hidden_size must be an integer", "true"}},
      {llama, R"({"hidden_size": [64]})", {"hidden_size must be an integer", "[64]"}},
      {llama, R"({"hidden_size": 0})", {"hidden_size must be an integer from 1"}},
      {llama, R"({"hidden_size": -64})", {"hidden_size must be an integer from 1", "-64"}},
      {llama, R"({"hidden_size": 2147483648})", {"hidden_size must be", "2147483647"}},
      {llama, R"({"hidden_size": 18446744073709551615})", {"hidden_size must be"}},
      {llama, R"({"num_hidden_layers": 65537})", {"num_hidden_layers is above 65536"}},
      {llama, R"({"num_attention_heads": 0})", {"num_attention_heads must be"}},
      {llama, R"({"vocab_size": 0})", {"vocab_size must be"}},
      {llama, R"({"intermediate_size": 0})", {"intermediate_size must be"}},
      {llama, R"({"max_position_embeddings": 0})", {"max_position_embeddings must be"}},
      {llama, R"({"rms_norm_eps": 0})", {"rms_norm_eps must be a number above 0"}},
      {llama, R"({"rms_norm_eps": "1e-5"})", {"rms_norm_eps must be a number above 0"}},
      {llama, R"({"tie_word_embeddings": 1})", {"tie_word_embeddings must be true or false"}},
      {llama, R"({"attention_bias": "no"})", {"attention_bias must be true or false"}},
      {llama, R"({"hidden_act": "gelu"})", {"hidden_act \"gelu\" is not supported", "silu"}},
      {llama, R"({"hidden_act": 3})", {"hidden_act must be a string"}},
      {llama, R"({"rms_norm_eps": 1e308})", {"rms_norm_eps (1e+308) must not be above 1"}},
      {llama, R"({"max_position_embeddings": 4096.5})", {"max_position_embeddings must be"}},
      {llama, R"({"max_position_embeddings": 1e308})", {"max_position_embeddings must be"}},
      {llama, R"({"eos_token_id": -2})", {"eos_token_id must be"}},
      {llama, R"({"eos_token_id": 1.0})", {"eos_token_id must be"}},
      {llama, R"({"eos_token_id": [18446744073709551615]})", {"eos_token_id must be"}},
      {llama, R"({"eos_token_id": "2"})", {"eos_token_id must be"}},
      {llama, R"({"eos_token_id": [1, "2"]})", {"eos_token_id must be"}},
      {llama, R"({"eos_token_id": [131]})", {"eos_token_id 131 is not below vocab_size (131)"}},
      {llama, R"({"bos_token_id": "1"})", {"bos_token_id must be"}},
      {llama, R"({"quantization_config": {"bits": 4}})", {"quantization_config", "quantized"}},
      // contradictions
      {llama, R"({"num_key_value_heads": 3})", {"num_attention_heads (4)", "(3)"}},
      {llama, R"({"num_key_value_heads": 0})", {"num_key_value_heads must be"}},
      {llama, R"({"num_key_value_heads": 8})", {"num_attention_heads (4)", "(8)"}},
      {llama, R"({"hidden_size": 66})", {"hidden_size (66)", "num_attention_heads (4)"}},
      {llama, R"({"hidden_size": 60})", {"head_dim (15) must be even"}},
      {llama, R"({"head_dim": 15})", {"head_dim (15) must be even"}},
      {mistral, R"({"num_key_value_heads": null})", {"num_key_value_heads (8, the default)"}},
      {mistral, R"({"sliding_window": 0})", {"sliding_window must be an integer from 1"}},
      {mistral, R"({"sliding_window": -1})", {"sliding_window must be an integer from 1"}},
      {qwen2, R"({"layer_types": ["full_attention"]})", {"layer_types has 1 entries", "3 blocks"}},
      {qwen2,
       R"({"layer_types": ["full_attention", "full_attention", "linear_attention"]})",
       {"layer_types \"linear_attention\" of block 2"}},
      {qwen2,
       R"({"layer_types": ["full_attention", "sliding_attention", "full_attention"]})",
       {"layer_types gives block 1 a sliding window"}},
      {qwen2, R"({"layer_types": "full_attention"})", {"layer_types must be a list"}},
      // other models
      {"GPT2LMHeadModel", "{}", {"architectures \"GPT2LMHeadModel\"", "OPTForCausalLM"}},
      {"LlamaForSequenceClassification", "{}", {"\"LlamaForSequenceClassification\" is not"}},
      {"Qwen2MoeForCausalLM", "{}", {"architectures \"Qwen2MoeForCausalLM\" is not supported"}},
      {opt, R"({"do_layer_norm_before": false})", {"do_layer_norm_before false", "post-norm"}},
      {opt, R"({"word_embed_proj_dim": 32})", {"word_embed_proj_dim", "projected embeddings"}},
      {opt, R"({"_remove_final_layer_norm": true})", {"_remove_final_layer_norm true"}},
      {opt, R"({"layer_norm_elementwise_affine": false})", {"layer_norm_elementwise_affine"}},
      {opt, R"({"activation_function": "tanh"})", {"activation_function \"tanh\"", "relu"}},
  };
  for (const Refused& row : rows) {
    SCOPED_TRACE(std::string(row.architecture) + " " + row.patch);
    json config = small(row.architecture);
    config.merge_patch(json::parse(row.patch));
    const TempDir dir;
    std::vector<std::string> parts = row.parts;
    parts.push_back(dir.write("config.json", config.dump()).string() + ": ");
    parts.emplace_back("\n  remedy: ");
    expect_input_error([&] { ModelConfig::load(dir.path()); }, parts);
  }
  for (const char* architecture : {llama, mistral, qwen2, "Qwen3ForCausalLM", opt}) {
    EXPECT_NO_THROW(load_config(small(architecture))) << "the rows above start from a good one";
  }
}

TEST(Config, RefusesScalingsByNamingThem) {
  const std::string keys = R"("original_max_position_embeddings": 64, "factor": 4)";
  const std::vector<Refused> rows{
      {"", R"({"rope_theta": 0})", {"rope_theta must be a number above 0"}},
      {"", R"({"rope_theta": "1e4"})", {"rope_theta must be a number"}},
      {"", R"({"rope_theta": 1.0})", {"rope_theta (1) must be above 1"}},
      {"", R"({"rope_scaling": 4})", {"rope_scaling must be an object"}},
      {"", R"({"rope_scaling": {"type": "longrope"}})", {"rope_scaling.type \"longrope\"", "yarn"}},
      {"", R"({"rope_scaling": {"rope_type": "su"}})", {"rope_scaling.rope_type \"su\""}},
      {"", R"({"rope_parameters": {"rope_type": "proportional"}})", {"\"proportional\""}},
      {"", R"({"rope_scaling": {"type": "linear"}})", {"rope_scaling.factor is missing"}},
      {"", R"({"rope_scaling": {"type": "linear", "factor": "2"}})", {"rope_scaling.factor must"}},
      {"", R"({"rope_scaling": {"type": "linear", "factor": 0.5}})", {"factor (0.5)", "least 1"}},
      {"", R"({"rope_scaling": {"type": "dynamic"}})", {"rope_scaling.factor is missing"}},
      {"",
       R"({"head_dim": 2, "rope_scaling": {"type": "dynamic", "factor": 2}})",
       {"needs a head_dim above 2"}},
      {"", R"({"rope_scaling": {"type": "yarn"}})", {"rope_scaling.factor is missing"}},
      {"",
       R"({"rope_scaling": {"type": "yarn", "factor": 4, "attention_factor": 1e308}})",
       {"rope_scaling.attention_factor (given, or", "1e+308"}},
      {"",
       R"({"rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": 1, "beta_slow": 32}})",
       {"beta_fast (1)", "beta_slow (32)"}},
      {"",
       "{\"rope_scaling\": {\"rope_type\": \"llama3\", " + keys + "}}",
       {"rope_scaling.low_freq_factor is missing"}},
      {"",
       "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"low_freq_factor\": 4, "
       "\"high_freq_factor\": 4, " +
           keys + "}}",
       {"high_freq_factor (4) must be above low_freq_factor (4)"}},
      {"",
       R"({"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 0}})",
       {"rope_scaling.original_max_position_embeddings must be"}},
      {"", R"({"partial_rotary_factor": 0.5})", {"partial_rotary_factor other than 1"}},
      {"",
       R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.25}})",
       {"rope_parameters.partial_rotary_factor other than 1"}},
      {"",
       R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})",
       {"rope_parameters.full_attention (rotation by layer type)"}},
  };
  for (const Refused& row : rows) {
    SCOPED_TRACE(row.patch);
    json config = small_llama();
    config.merge_patch(json::parse(row.patch));
    expect_input_error([&] { load_config(config); }, row.parts);
  }
}

// ---- files that are no configuration ----

TEST(Config, RefusesFilesThatAreNoConfiguration) {
  struct Row {
    std::string text;
    std::string part;
  };
  const std::vector<Row> rows{
      {"", "is empty"},
      {"{", "not valid JSON"},
      {"{\"architectures\": [\"LlamaForCausalLM\"], }", "not valid JSON"},
      {"\xff\xfe", "not valid JSON"},
      {"{\"a\": \"\xc3\"}", "not valid JSON"},
      {"{\"a\": 1e999}", "not valid JSON"},
      {"[]", "must hold a JSON object"},
      {"3", "must hold a JSON object"},
      {"{\"a\": 1, \"a\": 2}", "key \"a\" comes twice"},
      {std::string(100, '['), "nested deeper than"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.text);
    const TempDir dir;
    const std::string file = dir.write("config.json", row.text).string();
    expect_input_error([&] { ModelConfig::load(dir.path()); }, {file + ": ", row.part});
  }
}

TEST(Config, SaysWhatIsMissing) {
  const TempDir dir;
  expect_input_error([&] { ModelConfig::load(dir.path()); },
                     {(dir.path() / "config.json").string() + ": no such file", "remedy"});
  expect_input_error([&] { ModelConfig::load(dir.path() / "nowhere"); }, {"nowhere"});
  expect_input_error([&] { ModelConfig::load(std::string(5000, 'x')); },
                     {"cannot be read: File name too long"});
  std::filesystem::create_symlink("config.json", dir.path() / "config.json");
  expect_input_error([&] { ModelConfig::load(dir.path()); },
                     {"config.json: cannot be read: Too many levels of symbolic links"});
  std::filesystem::remove(dir.path() / "config.json");
  std::filesystem::create_directory(dir.path() / "config.json");
  expect_input_error([&] { ModelConfig::load(dir.path()); }, {"config.json: cannot be read"});
}

}  // namespace
}  // namespace spd
