#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/model/small_config.h"

namespace spd {
namespace {

using nlohmann::json;
using testing::ElementsAre;

json read_fixture(const std::string& name) {
  std::ifstream in(std::string(SPD_FIXTURES) + "/" + name);
  return json::parse(in);
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
    const ModelConfig config = load_config(one["config"]);
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
    EXPECT_EQ(load_config(config).architecture, "LlamaForCausalLM");
    EXPECT_EQ(load_config(config).family, Family::llama);
  }
  config.erase("architectures");
  config["num_key_value_heads"] = 2;
  config["ffn_dim"] = 88;
  for (const char* type : {"llama", "mistral", "qwen2", "qwen3", "opt"}) {
    config["model_type"] = type;
    EXPECT_EQ(name(load_config(config).family), type);
  }
  config["architectures"] = nullptr;
  EXPECT_EQ(load_config(config).family, Family::opt);
}

// As transformers takes them: hints, ids that are never met, and Python's numbers.
TEST(Config, TakesWhatDoesNotMatter) {
  const json plain = small_llama();
  const auto patched = [&](const json& patch) {
    json config = plain;
    config.merge_patch(patch);
    return load_config(config);
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

}  // namespace
}  // namespace spd
