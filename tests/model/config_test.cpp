#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

using nlohmann::json;
using testing::ElementsAre;

json read_fixture(const std::string& name) {
  std::ifstream in(std::string(SPD_FIXTURES) + "/" + name);
  return json::parse(in);
}

ModelConfig load(const json& config) {
  const TempDir dir;
  dir.write("config.json", config.dump());
  return ModelConfig::load(dir.path());
}

json small_llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 64},
          {"intermediate_size", 88},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 4},
          {"vocab_size", 131},
          {"max_position_embeddings", 128}};
}

json small(const char* architecture) {
  json result = small_llama();
  result["architectures"] = {architecture};
  if (std::string_view(architecture) == "OPTForCausalLM") {
    result["ffn_dim"] = result["intermediate_size"];
    result.erase("intermediate_size");
  } else if (std::string_view(architecture) != "LlamaForCausalLM") {
    result["num_key_value_heads"] = 2;  // their classes' defaults do not fit four heads
  }
  return result;
}

// ---- what it means, by transformers (scripts/fixtures/configs.py) ----

struct Activation {
  Epilogue gated;
  Epilogue plain;
};
const std::map<std::string, Activation> activations_of_names{
    {"silu", {Epilogue::gated_silu, Epilogue::silu}},
    {"relu", {Epilogue::none, Epilogue::relu}},
    {"gelu", {Epilogue::none, Epilogue::gelu}},
    {"gelu_pytorch_tanh", {Epilogue::gated_gelu_tanh, Epilogue::gelu_tanh}},
};

TEST(Config, MeansWhatTransformersMakesOfIt) {
  const json cases = read_fixture("configs.json");
  ASSERT_GE(cases.size(), 20U);
  for (const json& one : cases) {
    SCOPED_TRACE(one["name"].get<std::string>());
    const ModelConfig config = load(one["config"]);
    const json& meaning = one["meaning"];
    const bool opt = config.family == Family::opt;
    EXPECT_EQ(config.architecture, one["config"]["architectures"][0]);
    EXPECT_EQ(config.hidden, meaning["hidden"]);
    EXPECT_EQ(config.blocks, meaning["blocks"]);
    EXPECT_EQ(config.q_heads, meaning["q_heads"]);
    EXPECT_EQ(config.kv_heads, meaning["kv_heads"]);
    EXPECT_EQ(config.queries_per_kv(), config.q_heads / config.kv_heads);
    EXPECT_EQ(config.head_dim, meaning["head_dim"]);
    EXPECT_EQ(config.mlp, meaning["mlp"]);
    EXPECT_EQ(config.vocab, meaning["vocab"]);
    EXPECT_EQ(config.max_positions, meaning["max_positions"]);
    ASSERT_EQ(config.window_of_block.size(), meaning["windows"].size());
    for (std::size_t block = 0; block < config.window_of_block.size(); ++block) {
      EXPECT_EQ(config.window_of_block[block] ? config.window : 0, meaning["windows"][block]);
    }
    EXPECT_EQ(config.norm, opt ? NormKind::layer : NormKind::rms);
    EXPECT_FLOAT_EQ(config.norm_epsilon, meaning["norm_epsilon"].get<float>());
    EXPECT_EQ(config.gated_mlp, !opt);
    const Activation& activation = activations_of_names.at(meaning["activation"]);
    EXPECT_EQ(config.activation, opt ? activation.plain : activation.gated);
    EXPECT_EQ(is_gated(config.activation), config.gated_mlp);
    EXPECT_EQ(config.qkv_bias, meaning["qkv_bias"]);
    EXPECT_EQ(config.o_bias, meaning["o_bias"]);
    EXPECT_EQ(config.mlp_bias, meaning["mlp_bias"]);
    EXPECT_EQ(config.qk_norm, meaning["qk_norm"]);
    EXPECT_EQ(config.tied_embeddings, meaning["tied_embeddings"]);
    EXPECT_EQ(config.learned_positions, opt);
    EXPECT_EQ(opt ? config.max_positions + config.position_offset : 0, meaning["position_rows"]);
    ASSERT_EQ(config.rope.has_value(), !opt);
    if (config.rope) {
      EXPECT_DOUBLE_EQ(config.rope->theta, meaning["rope_theta"]);
    }
    const json& dtype = meaning["dtype"];
    EXPECT_EQ(config.dtype, dtype == "float32"    ? DType::f32
                            : dtype == "bfloat16" ? DType::bf16
                                                  : DType::f16);
    EXPECT_EQ(config.bos_id.has_value() ? json(*config.bos_id) : json(nullptr), meaning["bos"]);
    EXPECT_EQ(json(config.eos_ids), meaning["eos"]);
  }
}

// config.json as save_pretrained wrote it, with the keys of transformers 5 and of 4.
TEST(Config, ReadsWhatTransformersWrote) {
  const auto dir = std::filesystem::path(SPD_FIXTURES) / "models";
  const ModelConfig newer = ModelConfig::load(dir / "llama-rope-yarn");
  ASSERT_TRUE(newer.rope);
  EXPECT_EQ(newer.rope->scaling, RopeScaling::yarn);
  EXPECT_EQ(newer.rope->original_max_positions, 64);
  const ModelConfig older = ModelConfig::load(dir / "llama-tied-9-heads");
  ASSERT_TRUE(older.rope);
  EXPECT_EQ(older.rope->scaling, RopeScaling::llama3);
  EXPECT_EQ(older.rope->factor, 8.0);
  const ModelConfig bf16 = ModelConfig::load(dir / "llama-bf16");
  EXPECT_EQ(bf16.dtype, DType::bf16);
  EXPECT_EQ(ModelConfig::load(dir / "llama-sharded").dtype, DType::bf16);
}

TEST(Config, ArchitecturesMayBeMissingOrHaveOtherNames) {
  json config = small_llama();
  for (const char* architecture : {"LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel"}) {
    config["architectures"] = {architecture};
    EXPECT_EQ(load(config).architecture, "LlamaForCausalLM");
    EXPECT_EQ(load(config).family, Family::llama);
  }
  config.erase("architectures");
  config["num_key_value_heads"] = 2;
  config["ffn_dim"] = 88;
  for (const char* type : {"llama", "mistral", "qwen2", "qwen3", "opt"}) {
    config["model_type"] = type;
    EXPECT_EQ(name(load(config).family), type);
  }
  config["architectures"] = nullptr;
  EXPECT_EQ(load(config).family, Family::opt);
}

// As transformers takes them: hints, ids that are never met, and Python's numbers.
TEST(Config, TakesWhatDoesNotMatter) {
  const json plain = small_llama();
  const auto patched = [&](const json& patch) {
    json config = plain;
    config.merge_patch(patch);
    return load(config);
  };
  for (const json& hint : {json("auto"), json("float64"), json("int8"), json(3), json::object()}) {
    EXPECT_EQ(patched({{"torch_dtype", hint}}).dtype, DType::f32) << hint;
  }
  EXPECT_EQ(patched({{"dtype", "torch.bfloat16"}}).dtype, DType::bf16);
  EXPECT_EQ(patched({{"max_position_embeddings", 4096.0}}).max_positions, 4096);
  EXPECT_EQ(patched({{"bos_token_id", 131}}).bos_id, std::nullopt);
  EXPECT_EQ(patched({{"bos_token_id", -1}}).bos_id, std::nullopt);
  EXPECT_THAT(patched({{"eos_token_id", -1}}).eos_ids, testing::IsEmpty());
  EXPECT_THAT(patched({{"eos_token_id", {3, -1}}}).eos_ids, ElementsAre(3));

  const TempDir dir;
  std::string text = plain.dump();
  text.insert(1, R"("time_step_limit": [0.0, Infinity], "router_jitter": NaN, )");
  dir.write("config.json", text);
  EXPECT_EQ(ModelConfig::load(dir.path()).hidden, 64);
  text.insert(1, R"("rms_norm_eps": NaN, )");
  dir.write("config.json", text);
  expect_input_error([&] { ModelConfig::load(dir.path()); },
                     {"config.json: rms_norm_eps must be a number above 0, found NaN"});
}

TEST(Config, TakesTheFileItself) {
  const TempDir dir;
  const auto file = dir.write("other-name.json", small_llama().dump());
  EXPECT_EQ(ModelConfig::load(file).hidden, 64);
}

TEST(Config, GenerationConfigAddsEndIds) {
  const TempDir dir;
  json config = small_llama();
  config["eos_token_id"] = 5;
  dir.write("config.json", config.dump());
  EXPECT_THAT(ModelConfig::load(dir.path()).eos_ids, ElementsAre(5));
  dir.write("generation_config.json", R"({"eos_token_id": [7, 5, 7, 9]})");
  EXPECT_THAT(ModelConfig::load(dir.path()).eos_ids, ElementsAre(5, 7, 9));
  dir.write("generation_config.json", R"({"eos_token_id": 11})");
  EXPECT_THAT(ModelConfig::load(dir.path()).eos_ids, ElementsAre(5, 11));
  dir.write("generation_config.json", R"({"temperature": 0.6})");
  EXPECT_THAT(ModelConfig::load(dir.path()).eos_ids, ElementsAre(5));
  std::filesystem::remove(dir.path() / "generation_config.json");
  std::filesystem::create_symlink("nowhere", dir.path() / "generation_config.json");
  expect_input_error([&] { ModelConfig::load(dir.path()); }, {"generation_config.json: cannot be"});
  std::filesystem::remove(dir.path() / "generation_config.json");
  dir.write("generation_config.json", R"({"eos_token_id": 131})");
  expect_input_error([&] { ModelConfig::load(dir.path()); },
                     {"generation_config.json: eos_token_id 131", "vocab_size (131)"});
  dir.write("generation_config.json", "{");
  expect_input_error([&] { ModelConfig::load(dir.path()); },
                     {"generation_config.json: not valid JSON"});
}

// ---- what is refused, by key ----

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
    expect_input_error([&] { ModelConfig::load(dir.path()); }, parts);
  }
  for (const char* architecture : {llama, mistral, qwen2, "Qwen3ForCausalLM", opt}) {
    EXPECT_NO_THROW(load(small(architecture))) << "the rows above start from a good one";
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
    expect_input_error([&] { load(config); }, row.parts);
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
