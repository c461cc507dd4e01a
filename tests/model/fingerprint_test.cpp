#include "model/fingerprint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

namespace spd {
namespace {

ModelConfig base() {
  ModelConfig config;
  config.family = Family::llama;
  config.architecture = "LlamaForCausalLM";
  config.hidden = 576;
  config.blocks = 3;
  config.q_heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.mlp = 1536;
  config.vocab = 49152;
  config.max_positions = 8192;
  config.window_of_block.assign(3, false);
  config.rope = RopeConfig{};
  return config;
}

ModelConfig scaled(RopeScaling scaling) {
  ModelConfig config = base();
  config.rope->scaling = scaling;
  config.rope->factor = 4.0;
  config.rope->original_max_positions = 2048;
  return config;
}

ModelConfig learned() {
  ModelConfig config = base();
  config.learned_positions = true;
  config.position_offset = 2;
  config.rope.reset();
  return config;
}

// Computed by an independent FNV-1a over the text written out by hand: a change of either breaks
// the plans that people have on disk, so it must not happen unnoticed.
TEST(Fingerprint, StaysWhatItWas) {
  EXPECT_EQ(fingerprint_text(base()),
            "family=llama\nhidden=576\nblocks=3\nq_heads=9\nkv_heads=3\nhead_dim=64\nmlp=1536\n"
            "vocab=49152\nnorm=rms\nnorm_epsilon=1e-05\ngated_mlp=true\nactivation=silu\n"
            "qkv_bias=false\no_bias=false\nmlp_bias=false\nqk_norm=false\ntied_embeddings=false\n"
            "rope.theta=10000\nrope.scaling=none\n");
  EXPECT_EQ(fingerprint(base()), "5f87c5a590a57fd9");
}

struct Change {
  const char* name;
  std::function<void(ModelConfig&)> apply;
  ModelConfig from = base();
};

TEST(Fingerprint, ChangesWithShapesAndMathematics) {
  const std::vector<Change> changes{
      {"family", [](auto& c) { c.family = Family::mistral; }},
      {"hidden", [](auto& c) { ++c.hidden; }},
      {"blocks", [](auto& c) { ++c.blocks; }},
      {"q_heads", [](auto& c) { c.q_heads = 12; }},
      {"kv_heads", [](auto& c) { c.kv_heads = 9; }},
      {"head_dim", [](auto& c) { c.head_dim = 32; }},
      {"mlp", [](auto& c) { ++c.mlp; }},
      {"vocab", [](auto& c) { ++c.vocab; }},
      {"norm", [](auto& c) { c.norm = NormKind::layer; }},
      {"norm_epsilon", [](auto& c) { c.norm_epsilon = 1e-6F; }},
      {"gated_mlp", [](auto& c) { c.gated_mlp = false; }},
      {"activation", [](auto& c) { c.activation = Epilogue::gated_gelu_tanh; }},
      {"qkv_bias", [](auto& c) { c.qkv_bias = true; }},
      {"o_bias", [](auto& c) { c.o_bias = true; }},
      {"mlp_bias", [](auto& c) { c.mlp_bias = true; }},
      {"qk_norm", [](auto& c) { c.qk_norm = true; }},
      {"tied_embeddings", [](auto& c) { c.tied_embeddings = true; }},
      {"window",
       [](auto& c) {
         c.window = 16;
         c.window_of_block[1] = true;
       }},
      {"theta", [](auto& c) { c.rope->theta = 1e5; }},
      {"linear", [](auto& c) { c.rope->scaling = RopeScaling::linear; }},
      {"factor", [](auto& c) { c.rope->factor = 2.0; }, scaled(RopeScaling::linear)},
      {"trained", [](auto& c) { ++c.rope->original_max_positions; }, scaled(RopeScaling::dynamic)},
      {"low", [](auto& c) { c.rope->low_freq_factor = 2.0; }, scaled(RopeScaling::llama3)},
      {"high", [](auto& c) { c.rope->high_freq_factor = 8.0; }, scaled(RopeScaling::llama3)},
      {"fast", [](auto& c) { c.rope->beta_fast = 16.0; }, scaled(RopeScaling::yarn)},
      {"slow", [](auto& c) { c.rope->beta_slow = 2.0; }, scaled(RopeScaling::yarn)},
      {"truncate", [](auto& c) { c.rope->truncate = false; }, scaled(RopeScaling::yarn)},
      {"amplitude", [](auto& c) { c.rope->attention_factor = 1.5; }, scaled(RopeScaling::yarn)},
      {"learned length", [](auto& c) { ++c.max_positions; }, learned()},
      {"learned offset", [](auto& c) { c.position_offset = 0; }, learned()},
  };
  std::set<std::string> seen;
  for (const Change& change : changes) {
    ModelConfig config = change.from;
    change.apply(config);
    EXPECT_NE(fingerprint(config), fingerprint(change.from)) << change.name;
    EXPECT_TRUE(seen.insert(fingerprint(config)).second) << change.name << " collides";
    EXPECT_THAT(fingerprint(config), testing::MatchesRegex("[0-9a-f]{16}"));
  }
}

TEST(Fingerprint, StaysForTheRest) {
  const std::vector<Change> changes{
      {"dtype", [](auto& c) { c.dtype = DType::bf16; }},
      {"end ids",
       [](auto& c) {
         c.eos_ids = {2, 3};
       }},
      {"begin id", [](auto& c) { c.bos_id = 1; }},
      {"context", [](auto& c) { c.max_positions = 99; }},
      {"a window that no block has", [](auto& c) { c.window = 16; }},
      {"an unused factor", [](auto& c) { c.rope->factor = 2.0; }},
  };
  for (const Change& change : changes) {
    ModelConfig config = change.from;
    change.apply(config);
    EXPECT_EQ(fingerprint(config), fingerprint(change.from)) << change.name;
  }
}

}  // namespace
}  // namespace spd
