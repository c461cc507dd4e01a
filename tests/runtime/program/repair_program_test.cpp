// Repairs as the program makes them: from a text to a plan that runs, and what it refuses.
#include <csignal>

#include <cmath>
#include <cstring>

#include "tests/runtime/program/program_run.h"
#include "tests/runtime/tiny_model.h"

namespace spd {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class RepairProgram : public testing::Test {
 protected:
  RepairProgram() {
    std::string text;
    for (int i = 0; i < 1200; ++i) text += static_cast<char>('a' + i * i % 23 % 7);
    model_.write("text.txt", text);
  }

  std::string file(const std::string& name) const { return model_.path() + "/" + name; }
  std::vector<std::string> command(const std::string& what,
                                   const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {what, "-m", model_.path(), "--text", file("text.txt")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::vector<std::string> repair(const std::vector<std::string>& more,
                                  const std::string& out = "r.json",
                                  const std::string& windows = "12") const {
    auto arguments = command("repair", {"--window", "48", "--windows", windows, "--held-out", "4",
                                        "--tau1", "0", "--out", file(out)});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  /// The repair files of plans whose names begin so.
  std::vector<std::string> repairs(const std::string& begin) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(model_.path())) {
      const std::string name = entry.path().filename();
      if (name.starts_with(begin) && name.ends_with(".safetensors")) names.push_back(name);
    }
    return names;
  }
  double loss(int ranks, const std::vector<std::string>& plan) const {
    json result;
    auto arguments = command("eval", {"--window", "48"});
    arguments.insert(arguments.end(), plan.begin(), plan.end());
    run_program(ranks, arguments, &result);
    return result.at("against_baseline").at("kl_nats");
  }
  /// The first value of a tensor of the checkpoint becomes NaN.
  void poison(const std::string& tensor) const {
    std::string whole = model_.read("model.safetensors");
    std::uint64_t header = 0;
    std::memcpy(&header, whole.data(), sizeof header);
    const json entry = json::parse(whole.substr(sizeof header, header)).at(tensor);
    ASSERT_EQ(entry.at("dtype"), "F32");
    const float value = std::nanf("");
    const std::size_t begin = entry.at("data_offsets").at(0);
    std::memcpy(whole.data() + sizeof header + header + begin, &value, sizeof value);
    model_.write("model.safetensors", whole);
  }

  TinyModel model_;
};

TEST_F(RepairProgram, RepairedAndTaughtPlansLoseLess) {
  const double bare = loss(2, {"--drop", "attn:all", "--drop", "mlp:0"});
  json result;
  run_program(2, repair({"--drop", "attn:all", "--drop", "mlp:0"}), &result);
  EXPECT_EQ(result.at("schema"), "spd.repair/1");
  ASSERT_EQ(result.at("blocks").size(), 3u);
  EXPECT_EQ(result.at("blocks")[0].at("points").size(), 2u);
  const double repaired = loss(2, {"--plan", file("r.json")});
  EXPECT_LT(repaired, 0.9 * bare);

  run_program(2,
              command("distill", {"--plan", file("r.json"), "--window", "48", "--tokens", "768",
                                  "--held-out", "192", "--epochs", "0", "--logits", "3",
                                  "--logits-rate", "3e-4", "--out", file("d.json")}),
              &result);
  EXPECT_EQ(result.at("schema"), "spd.distill/1");
  EXPECT_LT(loss(2, {"--plan", file("d.json")}), repaired);
}

TEST_F(RepairProgram, DistillationIsOneOfTheMethods) {
  json result;
  run_program(2, repair({"--drop", "attn:all", "--methods", "placement"}));
  const double repaired = loss(2, {"--plan", file("r.json")});
  const auto taught = [&](const std::string& windows) {
    return repair({"--drop", "attn:all", "--methods", "placement,distillation", "--distill-rate",
                   "1e-3", "--distill-windows", windows});
  };
  run_program(2, taught("5"), &result);
  const json& blocks = result.at("distillation").at("blocks");
  ASSERT_EQ(blocks.size(), 3u);
  EXPECT_LT(blocks[0].at("held_out_loss_after"), blocks[0].at("held_out_loss_before"));
  EXPECT_LT(loss(2, {"--plan", file("r.json")}), repaired);
  expect_refusal(2, taught("6"), {"1200 tokens", "26 windows of 48", "distillation"});
}

TEST_F(RepairProgram, DistillationGoesOnWhereItWasStopped) {
  const auto distil = [&](const std::string& rate, const std::vector<std::string>& more) {
    auto arguments = command("distill", {"--drop", "attn:all", "--window", "48", "--tokens", "768",
                                         "--held-out", "192", "--epochs", "0", "--logits", "400",
                                         "--logits-rate", rate, "--out", file("d.json")});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  ProgramRun run(2, distil("1e-4", {}));
  run.show_progress();
  Outcome outcome;
  std::thread running([&] { outcome = run(); });
  // Stopped where it trains, and not where the model itself still runs over the windows.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (text_of(run.err()).find(", loss ") == std::string::npos &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const pid_t process = run.process_of(0);
  if (process > 0) kill(process, SIGTERM);
  running.join();
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.message(), HasSubstr("interrupted"));
  EXPECT_THAT(outcome.message(), HasSubstr("--resume"));
  const json progress = json::parse(model_.read("d.json.progress"), nullptr, false);
  ASSERT_TRUE(progress.is_object());
  EXPECT_FALSE(json::parse(model_.read("d.json")).at("complete").get<bool>());
  EXPECT_GT(progress.at("windows"), 0);
  expect_refusal(2, distil("1e-5", {"--resume"}), {"d.json.progress", "another run"});
  run_program(2, distil("1e-4", {"--resume"}));
  EXPECT_FALSE(std::filesystem::exists(file("d.json.progress")));
  // What was written on the way is nobody's.
  const json done = json::parse(model_.read("d.json"));
  EXPECT_FALSE(done.contains("complete"));
  EXPECT_THAT(repairs("d."), testing::ElementsAre(done.at("repair").at("file")));
  EXPECT_LT(loss(2, {"--plan", file("d.json")}), loss(2, {"--drop", "attn:all"}));
}

TEST_F(RepairProgram, BenchTellsWhatPredictionsCost) {
  const std::vector<std::string> small = {
      "bench", "-m", model_.path(), "--prompt-tokens",  "24", "--gen-tokens",
      "4",     "-r", "3",           "--prediction-cost"};
  const auto bench = [&](const std::vector<std::string>& plan) {
    auto arguments = small;
    arguments.insert(arguments.end(), plan.begin(), plan.end());
    return arguments;
  };
  run_program(2, repair({"--drop", "attn:all", "--methods", "prediction", "--ks", "8"}));
  json result;
  const Outcome outcome = run_program(2, bench({"--plan", file("r.json")}), &result);
  EXPECT_THAT(outcome.out, HasSubstr("predictions cost"));
  ASSERT_EQ(result.at("prediction_cost").size(), 2U);
  for (const json& cost : result.at("prediction_cost")) {
    // k <= 8, 48 hidden, 2 heads of 16 and 44 neurons a rank.
    EXPECT_GT(cost.at("share_of_arithmetic").get<double>(), 0.0);
    EXPECT_LE(cost.at("share_of_arithmetic").get<double>(),
              8 * (48 + 32 + 48) / (64 * 48 + 48 * 32 + 88 * 48 + 48 * 44.0));
    EXPECT_GT(cost.at("blocks_without_ms").get<double>(), 0.0);
  }
  expect_refusal(2, bench({"--drop", "attn:all"}), {"--prediction-cost", "spd repair"});
}

TEST_F(RepairProgram, WhatLeavesOutNoSyncPassesThrough) {
  const json bare = [&] {
    run_program(2, repair({}));
    return json::parse(model_.read("r.json"));
  }();
  EXPECT_EQ(bare.at("levels").at("attn"), json({"full", "full", "full"}));
  json result;
  const Outcome outcome = run_program(
      2, command("distill", {"--plan", file("r.json"), "--window", "48", "--out", file("d.json")}),
      &result);
  EXPECT_THAT(outcome.out, HasSubstr("leaves out no sync"));
  EXPECT_EQ(result.at("blocks"), json::array());
  EXPECT_EQ(json::parse(model_.read("d.json")).at("levels"), bare.at("levels"));
}

TEST_F(RepairProgram, ANewPlanTakesNothingFromCopiesOfTheOldOne) {
  const std::string name = [&] {
    run_program(2, repair({"--drop", "attn:all"}));
    return json::parse(model_.read("r.json")).at("repair").at("file").get<std::string>();
  }();
  EXPECT_THAT(repairs("r."), testing::ElementsAre(name));
  std::filesystem::copy(file("r.json"), file("kept"));
  // The moment in which a run is killed that has written its repairs, but not its plan.
  model_.write("r.0123abcd.safetensors", "of the new plan");
  loss(2, {"--plan", file("r.json")});
  std::filesystem::remove(file("r.0123abcd.safetensors"));

  const Outcome outcome = run_program(2, repair({"--drop", "attn:1"}));
  const std::string next = json::parse(model_.read("r.json")).at("repair").at("file");
  EXPECT_NE(next, name);
  EXPECT_THAT(repairs("r."), testing::UnorderedElementsAre(name, next));
  EXPECT_THAT(outcome.err, HasSubstr(name + " stays for copies"));
  loss(2, {"--plan", file("r.json")});
  loss(2, {"--plan", file("kept")});
  // The same once more replaces nothing.
  EXPECT_THAT(run_program(2, repair({"--drop", "attn:1"})).err, Not(HasSubstr("stays")));
  EXPECT_THAT(repairs("r."), testing::UnorderedElementsAre(name, next));
}

// A plan under way is a command's own, but for who has copied it meanwhile.
TEST_F(RepairProgram, RepairsUnderWayGoUnlessTheyAreNamed) {
  run_program(2, repair({"--drop", "attn:all"}));
  json plan = json::parse(model_.read("r.json"));
  const std::string name = plan.at("repair").at("file");
  plan["complete"] = false;
  model_.write("r.json", plan.dump());
  model_.write("copy.json", plan.dump());
  run_program(2, repair({"--drop", "attn:1"}));
  const std::string next = json::parse(model_.read("r.json")).at("repair").at("file");
  EXPECT_THAT(repairs("r."), testing::UnorderedElementsAre(name, next));
  loss(2, {"--plan", file("copy.json")});
  std::filesystem::remove(file("copy.json"));
  model_.write("r.json", plan.dump());
  run_program(2, repair({"--drop", "attn:1"}));
  EXPECT_THAT(repairs("r."), testing::ElementsAre(next));
}

TEST_F(RepairProgram, APlanIsDistilledInPlace) {
  run_program(2, repair({"--drop", "attn:all"}));
  std::filesystem::copy(file("r.json"), file("kept"));
  run_program(2,
              command("distill", {"--plan", file("r.json"), "--window", "48", "--tokens", "96",
                                  "--held-out", "96", "--epochs", "1", "--out", file("r.json")}));
  EXPECT_NE(model_.read("r.json"), model_.read("kept"));
  loss(2, {"--plan", file("r.json")});
  loss(2, {"--plan", file("kept")});
}

TEST_F(RepairProgram, RefusesWhatItCannotRepair) {
  run_program(2, repair({"--drop", "attn:all"}));
  struct Case {
    std::vector<std::string> arguments;
    std::vector<std::string> message;
    int ranks = 2;
  };
  const Case cases[] = {
      {repair({"--plan", file("r.json")}), {"repaired already", "spd distill"}},
      {repair({"--drop", "attn:all", "--methods", "magic"}), {"--methods", "magic", "grouping"}},
      {repair({"--drop", "attn:all", "--ks", "16,x"}), {"--ks", "x"}},
      {repair({"--drop", "attn:all"}, "r.json", "40"), {"1200 tokens", "44 windows of 48"}},
      {repair({"--drop", "attn:all", "--ridge", "0"}), {"--ridge"}},
      {command("distill", {"--plan", file("r.json"), "--window", "48", "--tokens", "1200",
                           "--held-out", "96", "--out", file("d.json")}),
       {"1200 tokens"}},
      {command("eval", {"--window", "48", "--plan", file("r.json")}), {"r.json", "2", "4"}, 4},
      {command("distill", {"--drop", "attn:0", "--drop", "attn:2", "--blocks", "0-1", "--window",
                           "48", "--tokens", "96", "--held-out", "96", "--out", file("d.json")}),
       {"--blocks 0-1: block 1 leaves out no sync", "0,2"}},
      {command("distill", {"--drop", "attn:0", "--blocks", "attn:0", "--window", "48", "--tokens",
                           "96", "--held-out", "96", "--out", file("d.json")}),
       {"--blocks attn:0", "--blocks 0-2"}},
  };
  for (const Case& bad : cases) {
    SCOPED_TRACE(bad.message.front());
    expect_refusal(bad.ranks, bad.arguments, bad.message);
  }
}

TEST_F(RepairProgram, RefusesRepairsOfAnotherPlan) {
  run_program(2, repair({"--drop", "attn:all"}));
  const json plan = json::parse(model_.read("r.json"));
  const std::string name = plan.at("repair").at("file");
  // The file of a run with other levels under this plan's name.
  run_program(2, repair({"--drop", "attn:1"}, "other.json"));
  const json other = json::parse(model_.read("other.json"));
  const std::string own = model_.read(name);
  model_.write(name, model_.read(other.at("repair").at("file").get<std::string>()));
  expect_refusal(2, command("eval", {"--window", "48", "--plan", file("r.json")}), {name});
  model_.write(name, own.substr(0, own.size() / 2));
  expect_refusal(2, command("eval", {"--window", "48", "--plan", file("r.json")}), {name});
  model_.write(name, own);
  const TinyModel another("llama-biases");
  another.write("r.json", plan.dump());
  another.write(name, own);
  expect_refusal(2,
                 {"eval", "-m", another.path(), "--text", file("text.txt"), "--window", "48",
                  "--plan", another.path() + "/r.json"},
                 {"r.json", "model"});
}

TEST_F(RepairProgram, NamesTheBlockWhoseWeightsAreNotFinite) {
  poison("model.layers.1.mlp.down_proj.weight");
  expect_refusal(2, repair({"--drop", "attn:all"}), {"block 1", "not finite", "NaN"});
  expect_refusal(2,
                 command("distill", {"--drop", "attn:all", "--window", "48", "--tokens", "480",
                                     "--held-out", "96", "--out", file("d.json")}),
                 {"not finite", "weights"});
}

}  // namespace
}  // namespace spd
