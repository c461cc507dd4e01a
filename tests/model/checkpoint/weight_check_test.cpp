#include "model/checkpoint/weight_check.h"

#include <chrono>

#include "tests/model/edited_checkpoint.h"

namespace spd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kBaseName = std::string_view("model.").size();

CheckedWeights check(EditedCheckpoint& edited, std::int64_t layers = 0) {
  edited.write("model.safetensors");
  ModelConfig config = ModelConfig::load(edited.path());
  const std::int64_t in_file = config.blocks;
  if (layers > 0) config.blocks = layers;
  return check_weights(config, Checkpoint::open(edited.path()), in_file);
}

std::string without_base(const std::string& name) {
  return name.starts_with("model.") ? name.substr(kBaseName) : name;
}

TEST(WeightCheck, TakesEveryFixture) {
  for (const char* fixture : {"llama", "llama-bf16", "llama-biases", "llama-tied-9-heads",
                              "mistral", "opt", "qwen2", "qwen3"}) {
    SCOPED_TRACE(fixture);
    EditedCheckpoint edited(fixture);
    const CheckedWeights whole = check(edited);
    EXPECT_THAT(whole.notes, IsEmpty());
    EXPECT_GT(whole.bytes, 0.0);
    // As saved from the base model, and as saved from what wraps the model once more.
    EditedCheckpoint base(fixture);
    base.rename(without_base);
    EXPECT_THAT(check(base).notes, IsEmpty());
    EditedCheckpoint wrapped(fixture);
    wrapped.rename([](const std::string& name) { return "model." + name; });
    EXPECT_THAT(check(wrapped).notes, IsEmpty());
  }
}

TEST(WeightCheck, RefusesWhatWouldMakeAnotherModel) {
  struct Row {
    const char* fixture;
    std::string tensor;
    std::vector<std::int64_t> shape;
    std::string part;
  };
  const std::string block = "model.layers.1.";
  const std::vector<Row> rows{
      {"llama", block + "self_attn.q_proj.bias", {48}, "self_attn.q_proj.bias"},
      {"llama", block + "mlp.down_proj.bias", {48}, "mlp.down_proj.bias"},
      {"llama", block + "self_attn.q_norm.weight", {8}, "self_attn.q_norm.weight"},
      {"llama", block + "pre_feedforward_layernorm.weight", {48}, "pre_feedforward_layernorm"},
      {"llama", "layers.1.self_attn.v_proj.bias", {48}, "layers.1.self_attn.v_proj.bias"},
      {"llama", "model.norm.bias", {48}, "model.norm.bias"},
      {"llama", "lm_head.bias", {131}, "lm_head.bias"},
      {"llama", "model.embed_positions.weight", {8, 48}, "model.embed_positions.weight"},
      {"qwen2", block + "self_attn.o_proj.bias", {48}, "self_attn.o_proj.bias"},
      {"opt", "model.decoder.project_in.weight", {48, 24}, "project_in"},
      {"opt", "decoder.project_out.weight", {48, 24}, "project_out"},
      {"llama", "model.layers.3.input_layernorm.weight", {48}, "hold 4 blocks, config.json says 3"},
      {"llama", "layers.7.input_layernorm.weight", {48}, "hold 8 blocks, config.json says 3"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.tensor);
    EditedCheckpoint edited(row.fixture);
    edited.add(row.tensor, row.shape, 0.5F);
    expect_input_error([&] { check(edited); }, {edited.path().string() + ": ", row.part});
  }
}

TEST(WeightCheck, SaysWhatIsLeftOutAndPassesOverTables) {
  EditedCheckpoint edited("llama");
  edited.add("model.layers.0.self_attn.rotary_emb.inv_freq", {4}, 1.0F);
  edited.add("model.rotary_emb.inv_freq", {4}, 1.0F);
  EXPECT_THAT(check(edited).notes, IsEmpty());
  edited.add("model.layers.0.self_attn.q_proj.bias", {48}, 0.0F);
  EXPECT_THAT(check(edited).notes,
              ElementsAre(HasSubstr(
                  "1 tensor that nothing uses: \"model.layers.0.self_attn.q_proj.bias\"")));
  for (const char* name : {"score.weight", "v_head.summary.weight", "visual.blocks.0.weight"}) {
    edited.add(name, {3}, 0.5F);
  }
  EXPECT_THAT(check(edited).notes, ElementsAre(HasSubstr("4 tensors that nothing uses: ")));
  EXPECT_THAT(check(edited).notes,
              ElementsAre(HasSubstr("\"score.weight\", \"v_head.summary.weight\", ...")));
}

TEST(WeightCheck, BlocksMayBeCutByTheUser) {
  EditedCheckpoint edited("llama");
  EXPECT_THAT(check(edited, 1).notes, IsEmpty());
  EXPECT_LT(check(edited, 1).bytes, check(edited).bytes);
}

// Sizes that only config.json speaks of are found out before anything is as large.
TEST(WeightCheck, RefusesSizesThatTheWeightsDoNotHave) {
  struct Row {
    nlohmann::json patch;
    std::string part;
  };
  const std::vector<Row> rows{
      {{{"num_hidden_layers", 32800}}, "hold 3 blocks, config.json says 32800"},
      {{{"num_hidden_layers", 65536}, {"intermediate_size", 1'000'000}}, "hold 3 blocks"},
      {{{"num_hidden_layers", 1}}, "hold 3 blocks, config.json says 1"},
      {{{"intermediate_size", 2147483647}}, "config.json wants [2147483647, "},
      {{{"num_attention_heads", 2147483646}, {"num_key_value_heads", 1}, {"head_dim", 2}},
       "config.json wants [4294967292, "},
      {{{"head_dim", 2147483646}}, "config.json wants ["},
      {{{"hidden_size", 2147483520}}, "config.json wants ["},
      {{{"vocab_size", 2147483647}}, "config.json wants [2147483647, "},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.patch.dump());
    EditedCheckpoint edited("llama");
    edited.config.merge_patch(row.patch);
    const auto begin = std::chrono::steady_clock::now();
    expect_input_error([&] { check(edited); }, {edited.path().string(), row.part});
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  }
}

TEST(WeightCheck, NamesWhatIsMissing) {
  EditedCheckpoint headless("llama");
  headless.tensors.erase("lm_head.weight");
  headless.config["architectures"] = {"LlamaModel"};
  expect_input_error([&] { check(headless); },
                     {"no tensor \"lm_head.weight\": the weights have no head", "ForCausalLM"});

  EditedCheckpoint foreign("llama");
  foreign.rename([](const std::string& name) { return "transformer.h." + name; });
  expect_input_error([&] { check(foreign); },
                     {"no tensor \"model.layers.2.", "e.g. \"transformer.h.lm_head.weight\""});

  EditedCheckpoint torn("llama");
  torn.tensors.erase("model.layers.0.mlp.up_proj.weight");
  expect_input_error([&] { check(torn); }, {"no tensor \"model.layers.0.mlp.up_proj.weight\""});
}

class FakeSource final : public WeightSource {
 public:
  explicit FakeSource(std::vector<std::string> names) : names_(std::move(names)) {}
  bool contains(const std::string& name) const override {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }
  std::unique_ptr<RowReader> open(const std::string&, std::int64_t, std::int64_t) override {
    return nullptr;
  }
  HostTable table(const std::string&, std::int64_t, std::int64_t) override { return {}; }

 private:
  std::vector<std::string> names_;
};

TEST(WeightCheck, TiedTensorsAreUsedAsTheyAreStored) {
  const std::string embedding = "model.embed_tokens.weight";
  const std::string head = "lm_head.weight";
  ModelConfig config;
  const auto names = [&](const std::vector<std::string>& stored) {
    const VocabularyTensors tensors = vocabulary_tensors(config, FakeSource(stored));
    return std::pair(tensors.embedding, tensors.projection);
  };
  EXPECT_EQ(names({embedding, head}), std::pair(embedding, head));
  config.tied_embeddings = true;
  EXPECT_EQ(names({embedding}), std::pair(embedding, embedding));
  EXPECT_EQ(names({embedding, head}), std::pair(embedding, head));
  EXPECT_EQ(names({head}), std::pair(head, head));
}

TEST(WeightCheck, ATiedProjectionThatDiffersIsSaid) {
  EditedCheckpoint edited("llama");
  edited.config["tie_word_embeddings"] = true;
  EXPECT_THAT(check(edited).notes, ElementsAre(HasSubstr("it is stored and differs")));
  edited.tensors["lm_head.weight"] = edited.tensors["model.embed_tokens.weight"];
  EXPECT_THAT(check(edited).notes, IsEmpty());
  edited.tensors.erase("model.embed_tokens.weight");
  EXPECT_THAT(check(edited).notes, IsEmpty());
}

TEST(WeightCheck, CountsBytes) {
  EditedCheckpoint edited("llama-bf16");
  const CheckedWeights checked = check(edited);
  const ModelConfig config = ModelConfig::load(edited.path());
  EXPECT_EQ(weight_bytes(config), checked.bytes + embedding_bytes(config));
}

}  // namespace
}  // namespace spd
