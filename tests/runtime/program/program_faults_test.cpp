// What the program refuses: each with one message that says what to do, under mpirun.
#include "model/sync_plan.h"
#include "tests/model/safetensors_text.h"
#include "tests/runtime/program/program_run.h"
#include "tests/runtime/tiny_model.h"

namespace spd {
namespace {

using nlohmann::json;

// What a plan for 3 blocks, 4 heads, 2 ranks on one node looks like, as the program writes it.
json plan_of(const TinyModel& model, int ranks) {
  const ModelConfig config = ModelConfig::load(model.path());
  return SyncPlan::all_full(config, Topology::contiguous(ranks, 1)).to_json(config);
}

class Refuses : public testing::Test {
 protected:
  std::vector<std::string> generate(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"generate", "-m", model_.path(), "-n", "4"};
    if (more.empty()) arguments.insert(arguments.end(), {"--prompt", "Words"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::vector<std::string> with_plan(const json& plan) const {
    model_.write("plan.json", plan.dump());
    return generate({"--prompt", "Words", "--plan", plan_});
  }

  TinyModel model_;
  std::string plan_ = model_.path() + "/plan.json";
};

TEST_F(Refuses, PlansMadeForSomethingElse) {
  const json good = plan_of(model_, 2);
  run_program(2, with_plan(good));  // so that what follows fails for its own reason
  expect_refusal(3, with_plan(good), {"plan.json", "2", "3"});
  json bad = good;
  bad["ranks_per_node"] = {1, 1};
  run_program(2, with_plan(bad));  // nothing stays within nodes: they may be others
  bad["levels"]["attn"][1] = "node";
  expect_refusal(2, with_plan(bad), {"plan.json", "within nodes of [1, 1] ranks", "has [2]"});
  const TinyModel other("llama-biases");
  expect_refusal(2, with_plan(plan_of(other, 2)), {"plan.json", "model"});
  bad = good;
  bad["levels"]["mlp"][2] = "drop";
  expect_refusal(2, with_plan(bad), {"last", "full"});
  bad["levels"]["mlp"][2] = "sometimes";
  expect_refusal(2, with_plan(bad), {"plan.json", "sometimes"});
  model_.write("plan.json", "{\"schema\": ");
  expect_refusal(2, generate({"--prompt", "Words", "--plan", plan_}), {"plan.json"});
  expect_refusal(2, generate({"--prompt", "Words", "--plan", "/no/such.json"}), {"/no/such.json"});
}

TEST_F(Refuses, DamagedWeights) {
  const std::string whole = model_.read("model.safetensors");
  model_.write("model.safetensors", whole.substr(0, whole.size() - 1000));
  expect_refusal(2, generate(), {"model.safetensors"});
  model_.write("model.safetensors", whole.substr(0, 5));
  expect_refusal(2, generate(), {"model.safetensors"});

  // A header that lies: about where a tensor ends, and about its shape.
  const std::size_t header =
      static_cast<unsigned char>(whole[0]) + 256 * static_cast<unsigned char>(whole[1]);
  json lying = json::parse(whole.substr(8, header));
  const auto write = [&](const json& changed) {
    std::string text = changed.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    model_.write("model.safetensors", safetensors_text(text, whole.substr(8 + header)));
  };
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  json changed = lying;
  changed[name]["data_offsets"][1] = std::int64_t{1} << 40;
  write(changed);
  expect_refusal(2, generate(), {"model.safetensors", "tensor \"model.layers."});
  changed = lying;
  changed[name]["shape"] = {7, 7};
  write(changed);
  expect_refusal(2, generate(), {"model.safetensors", name});
  changed = lying;
  changed.erase(name);
  write(changed);
  expect_refusal(2, generate(), {"model.safetensors", "tensor \"model.layers."});
  std::filesystem::remove(model_.file("model.safetensors"));
  expect_refusal(2, generate(), {"model.safetensors"});
}

TEST_F(Refuses, MissingShards) {
  const TinyModel sharded("llama-sharded");
  std::filesystem::remove(sharded.file("model-00002-of-00003.safetensors"));
  expect_refusal(2, {"generate", "-m", sharded.path(), "--prompt", "x"},
                 {"model-00002-of-00003.safetensors"});
}

TEST_F(Refuses, ConfigsThatItDoesNotKnow) {
  json config = model_.config();
  config["architectures"] = {"MambaForCausalLM"};
  config["model_type"] = "mamba";
  model_.write("config.json", config.dump());
  expect_refusal(2, generate(), {"config.json", "amba"});
  model_.write("config.json", "{");
  expect_refusal(2, generate(), {"config.json"});
  std::filesystem::remove(model_.file("config.json"));
  expect_refusal(2, generate(), {"config.json"});
}

TEST_F(Refuses, BadCommandLines) {
  struct Case {
    std::vector<std::string> arguments;
    std::vector<std::string> message;
    int ranks = 2;
  };
  const Case cases[] = {
      {{"generat"}, {"generat", "generate"}},
      {{"generate", "--prompt", "x"}, {"--model"}},
      {generate({"--prompt", "x", "--frobnicate"}), {"--frobnicate"}},
      {generate({"--prompt", "x", "--temperature", "warm"}), {"temperature", "warm"}},
      {generate({"--prompt", "x", "--temperature", "-1"}), {"--temperature"}},
      {generate({"--prompt", "x", "--top-p", "1.5"}), {"--top-p"}},
      {generate({"--prompt", "x", "--batch", "0"}), {"--batch"}},
      {generate({"--prompt", "x", "--threads", "-2"}), {"--threads"}},
      {generate({"--prompt", "x", "--kv-dtype", "int3"}), {"int3"}},
      {generate({"--prompt", "x", "--drop", "attn:9"}), {"--drop", "attn:9"}},
      {generate({"--prompt", "x", "--drop", "mlp:2"}), {"last", "full"}},
      {generate({"--prompt", "x", "--node", "mlp"}), {"--node", "mlp"}},
      {generate({"--prompt", "x", "--intra", "thread"}), {"--intra thread", "--virtual-ranks"}},
      {generate({"--prompt", "x", "--algo", "one_shot,ring"}), {"one_shot,ring", "ascend"}},
      {generate({"--prompt", "x", "--algo", "/no/such.json"}), {"/no/such.json"}},
      {generate({"--prompt", "x", "--virtual-nodes", "2"}), {"--virtual-nodes"}, 0},
      {generate({"--prompt", "x", "--virtual-ranks", "2", "--virtual-nodes", "3"}), {"3"}, 0},
      {generate({"--prompt", "x"}), {"4 query heads", "5 ranks"}, 5},
      {generate({"--chat", "--prompt", "x", "--prompts", "y"}), {"--prompts"}},
      {{"generate", "-m", model_.path()}, {"--prompt"}},
      {generate({"--prompt", "x", "--virtual-ranks", "2", "--rails", "9"}), {"--rails 9", "2"}, 0},
      {generate({"--prompt", "x", "--virtual-ranks", "2", "--nic", "nope"}), {"--nic nope"}, 0},
      {generate({"--prompt", "x", "--rails", "9"}), {"--rails 9", "2 ranks"}},
      {generate({"--prompt", "x", "--plan", ""}), {"--plan"}},
      {{"eval", "-m", model_.path(), "--text", "x", "--items", "y"}, {"--items", "--text"}},
      {{"eval", "-m", model_.path(), "--text", "/no/such.txt"}, {"/no/such.txt"}},
      {{"bench", "-m", model_.path(), "--prompt-tokens", "1000"}, {"1000", "128"}},
  };
  for (const Case& bad : cases) {
    SCOPED_TRACE(bad.arguments.back() + " -> " + bad.message.front());
    expect_refusal(bad.ranks, bad.arguments, bad.message);
  }
}

// What is of no use is said before the work.
TEST_F(Refuses, PlansWithoutTimesOfLinks) {
  const std::string topology = model_.path() + "/t.json";
  ProgramRun topo(0, {"topo", "--virtual-ranks", "2"});
  topo.write_json_to(topology);
  const Outcome outcome = topo();
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, testing::HasSubstr("spd plan and --algo cannot use it"));
  expect_refusal(0,
                 {"plan", "-m", "/no/model", "--virtual-ranks", "2", "--topology", topology,
                  "--sensitivity", "/no/s.json", "--max-loss", "1%"},
                 {"t.json: has no all-reduce times", "spd topo"});
}

TEST_F(Refuses, NothingButWarnsOfWhatIsSlowOrUnused) {
  const Outcome outcome = run_program(0, generate({"--prompt", "x", "--virtual-ranks", "2", "-t",
                                                   "999", "--rails", "2", "--inter", "ucx"}));
  EXPECT_THAT(outcome.err, testing::HasSubstr("--threads 999: this process may run on"));
  EXPECT_EQ(outcome.err.find("--threads 999"), outcome.err.rfind("--threads 999"));
  EXPECT_THAT(outcome.err, testing::HasSubstr("--inter, --rails without meaning"));
}

TEST_F(Refuses, PromptsThatDoNotFit) {
  expect_refusal(2, generate({"--prompt", ""}), {"--prompt", "empty"});
  expect_refusal(2, generate({"--prompt", std::string(200, 'x')}), {"200 tokens", "128"});
  expect_refusal(2, generate({"--prompts", "-"}), {"stdin", "no prompts"}, "\n \n");
  expect_refusal(2, generate({"--prompts", "-"}), {"stdin line 2"}, "fine\n{\"prompt\": 5}\n");
  expect_refusal(2, generate({"--prompts", "/no/such.jsonl"}), {"/no/such.jsonl"});
  expect_refusal(2, generate({"--prompt", "x", "--chat", "--system", std::string(200, 'y')}),
                 {"context", "128"});
}

TEST_F(Refuses, ResultsThatCannotBeWritten) {
  ProgramRun run(2, generate());
  std::filesystem::create_directories(run.json());
  const Outcome outcome = run();
  EXPECT_GT(outcome.status, 0);
  EXPECT_THAT(outcome.message(), testing::HasSubstr("--json"));
}

}  // namespace
}  // namespace spd
