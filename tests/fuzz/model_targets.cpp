// Targets of model/: configurations, weights, plans, repairs.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/device/cpu_device.h"
#include "kernels/device/error.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weight_source.h"
#include "model/config.h"
#include "model/fingerprint.h"
#include "model/json_object.h"
#include "model/repair.h"
#include "model/shard.h"
#include "model/sync_plan.h"
#include "runtime/inference/engine.h"
#include "tests/fuzz/target.h"
#include "tests/model/safetensors_text.h"

namespace spd::fuzz {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kRanks = 2;

fs::path tiny_model() { return fs::path(SPD_FIXTURES) / "models" / "llama"; }

const ModelConfig& tiny_config() {
  static const ModelConfig config = ModelConfig::load(tiny_model());
  return config;
}

void parse_any_json(std::string_view input, const fs::path&) {
  touch(parse_json(input, "input", 16).dump(-1, ' ', true, Json::error_handler_t::replace));
}

std::vector<std::string> json_seeds() {
  return {R"({"a": [1, -2.5e3, "\u2581\ud83d\ude00", null, true, {"b": []}]})",
          R"([NaN, Infinity, -Infinity, 1e308, 18446744073709551615])", R"({"a": 1, "a": 2})"};
}

void load_config(std::string_view input, const fs::path& folder) {
  write(folder / "config.json", input);
  const ModelConfig config = ModelConfig::load(folder / "config.json");
  touch(fingerprint_text(config));
  if (config.rope) {
    rope_frequencies(config, std::min<std::int64_t>(config.max_positions, 4096));
  }
}

std::vector<std::string> config_seeds() {
  std::vector<std::string> seeds = {fixture("models/llama/config.json")};
  for (const Json& known : Json::parse(fixture("configs.json"))) {
    if (known.contains("config")) seeds.push_back(known["config"].dump());
  }
  for (const char* model : {"opt", "qwen2-window", "qwen3", "llama-rope-yarn"}) {
    seeds.push_back(fixture(fmt::format("models/{}/config.json", model)));
  }
  return seeds;
}

// Tensors of one header and data, as the safetensors library writes them.
class TensorText {
 public:
  void add(const std::string& name, std::vector<std::int64_t> shape,
           const std::string& dtype = "F32") {
    std::size_t bytes = dtype == "F32" ? 4 : 2;
    for (const std::int64_t extent : shape) bytes *= static_cast<std::size_t>(extent);
    header_[name] = {
        {"dtype", dtype}, {"shape", std::move(shape)}, {"data_offsets", {bytes_, bytes_ + bytes}}};
    bytes_ += bytes;
  }
  void metadata(const Json& metadata) { header_["__metadata__"] = metadata; }
  std::string text() const {
    std::string header = header_.dump();
    header.append((8 - header.size() % 8) % 8, ' ');
    return safetensors_text(header, std::string(bytes_, '\0'));
  }

 private:
  Json header_ = Json::object();
  std::size_t bytes_ = 0;
};

void open_safetensors(std::string_view input, const fs::path& folder) {
  write(folder / "model.safetensors", input);
  const SafetensorsFile file(folder / "model.safetensors");
  for (const std::string& name : file.names()) {
    try {
      const TensorEntry& entry = file.at(name);
      touch({reinterpret_cast<const char*>(entry.data), entry.bytes});
    } catch (const Error&) {  // of a type that is not read
    }
  }
  for (const auto& [key, value] : file.metadata()) touch(key + value);
}

std::vector<std::string> safetensors_seeds() {
  TensorText two;
  two.add("a", {2, 3});
  two.add("b", {4}, "BF16");
  two.metadata({{"format", "pt"}});
  TensorText scalars;
  scalars.add("scalar", {});
  scalars.add("empty", {0, 5}, "F16");
  return {two.text(), scalars.text(), TensorText().text()};
}

void open_shards(std::string_view input, const fs::path& folder) {
  if (!fs::exists(folder / "two.safetensors")) {
    TensorText one;
    one.add("a", {2, 3});
    write(folder / "one.safetensors", one.text());
    TensorText two;
    two.add("b", {4}, "BF16");
    write(folder / "two.safetensors", two.text());
  }
  write(folder / "model.safetensors.index.json", input);
  const Checkpoint checkpoint = Checkpoint::open(folder);
  for (const std::string& name : checkpoint.names()) {
    const TensorEntry& entry = checkpoint.at(name);
    touch({reinterpret_cast<const char*>(entry.data), entry.bytes});
  }
}

std::vector<std::string> shard_seeds() {
  return {
      R"({"metadata": {"total_size": 32}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})",
      R"({"weight_map": {"a": "../one.safetensors", "b": "three.safetensors"}})"};
}

// A whole model: what its configuration says against what its weights are.
void load_model(std::string_view input, const fs::path& folder) {
  const auto parts = parts_of(input, 2);
  write(folder / "config.json", parts[0]);
  write(folder / "model.safetensors", parts[1]);
  LaunchOptions launch;
  launch.virtual_ranks = 1;
  EngineOptions options;
  options.model = folder;
  options.threads = 1;
  options.pin = false;
  launch_virtual(launch, [&](RankContext& context) {
    const Engine engine(context, options, 8);
    touch(engine.plan().fingerprint);
  });
}

std::vector<std::string> model_seeds() {
  const Json config = {{"architectures", {"LlamaForCausalLM"}},
                       {"model_type", "llama"},
                       {"hidden_size", 8},
                       {"num_hidden_layers", 1},
                       {"num_attention_heads", 2},
                       {"num_key_value_heads", 1},
                       {"intermediate_size", 4},
                       {"vocab_size", 5},
                       {"max_position_embeddings", 16},
                       {"rms_norm_eps", 1e-5},
                       {"torch_dtype", "float32"},
                       {"tie_word_embeddings", true}};
  TensorText weights;
  weights.add("model.embed_tokens.weight", {5, 8});
  weights.add("model.norm.weight", {8});
  const std::string block = "model.layers.0.";
  for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
    weights.add(block + norm + ".weight", {8});
  }
  weights.add(block + "self_attn.q_proj.weight", {8, 8});
  weights.add(block + "self_attn.k_proj.weight", {4, 8});
  weights.add(block + "self_attn.v_proj.weight", {4, 8});
  weights.add(block + "self_attn.o_proj.weight", {8, 8});
  weights.add(block + "mlp.gate_proj.weight", {4, 8});
  weights.add(block + "mlp.up_proj.weight", {4, 8});
  weights.add(block + "mlp.down_proj.weight", {8, 4});
  return {join_parts({config.dump(), weights.text()})};
}

void load_plan(std::string_view input, const fs::path& folder) {
  write(folder / "plan.json", input);
  const Topology topology = Topology::contiguous(kRanks, 1);
  const SyncPlan plan = SyncPlan::load(folder / "plan.json", tiny_config(), topology);
  const Json json = plan.to_json(tiny_config(), folder);
  const SyncPlan again = SyncPlan::from_json(json, "again", tiny_config(), topology);
  if (!(again.levels == plan.levels && again.partition == plan.partition)) {
    contradict("a plan that is written and read is another");
  }
  plan.partition.validate(tiny_config());
  plan.levels.validate(tiny_config().blocks);
  touch(plan.levels.key());
}

SyncPlan plan_without(SyncPoint point) {
  SyncPlan plan = SyncPlan::all_full(tiny_config(), Topology::contiguous(kRanks, 1));
  for (std::int64_t block = 0; block + 1 < tiny_config().blocks; ++block) {
    plan.levels.at(block, point) = SyncLevel::drop;
  }
  return plan;
}

std::vector<std::string> plan_seeds() {
  SyncPlan plan = plan_without(SyncPoint::attn);
  std::vector<std::string> seeds = {plan.to_json(tiny_config()).dump()};
  plan.levels.wire_at(0, SyncPoint::mlp) = WireFormat::int8;
  plan.levels.at(1, SyncPoint::mlp) = SyncLevel::node;
  plan.repair = RepairReference{"repaired.safetensors", "0123456789abcdef"};
  seeds.push_back(plan.to_json(tiny_config()).dump());
  return seeds;
}

// Repairs of both sync points' kinds, small and all of one value.
RankRepair small_repair(const SyncPlan& plan, int rank) {
  const auto matrix = [](std::int64_t rows, std::int64_t cols) {
    HostMatrix filled(rows, cols);
    std::fill(filled.values.begin(), filled.values.end(), 0.5f);
    return filled;
  };
  const std::int64_t hidden = tiny_config().hidden;
  const auto inner = static_cast<std::int64_t>(plan.partition.blocks[1][rank].q_heads.size()) *
                     tiny_config().head_dim;
  RankRepair repair(tiny_config().blocks);
  Prediction mean;
  mean.mean = matrix(1, hidden);
  repair[0].prediction.attn = mean;
  Prediction both = mean;
  both.from_input = matrix(1, hidden);
  both.from_inner = matrix(1, inner);
  both.to_hidden = matrix(hidden, 1);
  repair[1].prediction.attn = both;
  repair[1].weights["attn_norm"] = matrix(1, hidden);
  return repair;
}

void load_repair(std::string_view input, const fs::path& folder) {
  static const SyncPlan plan = plan_without(SyncPoint::attn);
  static CpuDevice device;
  static const auto operators = make_cpu_operators(device, {1, {}, MatmulMode::f32});
  static const auto source = make_random_source(tiny_config(), 1);
  static std::array<Shard, kRanks> shards = {
      load_shard(tiny_config(), plan.partition, 0, *source, *operators),
      load_shard(tiny_config(), plan.partition, 1, *source, *operators)};
  write(folder / "repair.safetensors", input);
  const RepairFile file(folder / "repair.safetensors", plan);
  for (int rank = 0; rank < kRanks; ++rank) {
    const RankRepair repair = file.load(rank);
    for (std::size_t block = 0; block < repair.size(); ++block) {
      BlockWeights& weights = shards[rank].blocks.at(block);
      if (!repair[block].empty()) install(repair[block], weights, *operators, "repair");
      remove_repair(weights);
    }
  }
}

std::vector<std::string> repair_seeds() {
  const SyncPlan plan = plan_without(SyncPoint::attn);
  const fs::path folder = fs::temp_directory_path();
  std::vector<std::string> seeds;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const fs::path file = folder / fmt::format("spd-fuzz-{}.safetensors", ::getpid());
    RepairFile::write(file, plan, {small_repair(plan, 0), small_repair(plan, 1)}, dtype);
    seeds.push_back(read_back(file));
  }
  return seeds;
}

constexpr const char* kConfigKeys =
    "architectures model_type hidden_size num_hidden_layers num_attention_heads "
    "num_key_value_heads head_dim intermediate_size vocab_size max_position_embeddings "
    "rms_norm_eps torch_dtype dtype tie_word_embeddings rope_theta rope_scaling rope_parameters "
    "rope_type factor low_freq_factor high_freq_factor original_max_position_embeddings "
    "sliding_window use_sliding_window max_window_layers layer_types attention_bias mlp_bias "
    "hidden_act ffn_dim word_embed_proj_dim do_layer_norm_before enable_bias activation_function "
    "eos_token_id bos_token_id head_dim quantization_config LlamaForCausalLM MistralForCausalLM "
    "Qwen2ForCausalLM Qwen3ForCausalLM OPTForCausalLM yarn linear dynamic llama3 default";
constexpr const char* kTensorKeys =
    "dtype shape data_offsets __metadata__ F32 F16 BF16 I64 U8 BOOL F8_E4M3 "
    "model.embed_tokens.weight model.norm.weight lm_head.weight model.layers.0.";
constexpr const char* kPlanKeys =
    "schema spd.plan/1 version model architecture fingerprint tp ranks_per_node partition blocks "
    "q_heads neurons vocab levels wire attn mlp full node drop f32 bf16 int8 repair file hash";

}  // namespace

std::vector<Target> model_targets() {
  return {
      {"json", parse_any_json, json_seeds, "NaN Infinity \\u0000 \\ud800 e+99 [[[[ {\"a\":"},
      {"config", load_config, config_seeds, kConfigKeys},
      {"safetensors", open_safetensors, safetensors_seeds, kTensorKeys},
      {"shard_index", open_shards, shard_seeds,
       "weight_map metadata total_size a b one.safetensors"},
      {"model", load_model, model_seeds, kConfigKeys, 2},
      {"plan", load_plan, plan_seeds, kPlanKeys},
      {"repair", load_repair, repair_seeds, kTensorKeys},
  };
}

}  // namespace spd::fuzz
