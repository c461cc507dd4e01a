// The whole run: a small model with random weights and a tokenizer, two tasks, its files.
#include "runtime/commands/eval_tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <iterator>

#include "model/repair.h"
#include "runtime/job/agreed_error.h"
#include "runtime/job/interrupt.h"
#include "tests/model/temp_dir.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

using Json = nlohmann::json;

constexpr int kItems = 12;

class TaskEval : public testing::Test {
 protected:
  TaskEval() {
    std::ifstream stream(fixture_model("llama-tied-9-heads") / "config.json");
    Json config = Json::parse(stream);
    config["vocab_size"] = 700;
    dir_.write("config.json", config.dump());
    std::filesystem::copy_file(
        std::filesystem::path(SPD_FIXTURES) / "tokenizer" / "gpt2" / "tokenizer.json",
        dir_.path() / "tokenizer.json");
    std::string sciq;
    std::string lambada;
    for (int i = 0; i < kItems; ++i) {
      sciq += Json{{"support", std::string(i % 3, 'x')},
                   {"question", "What is " + std::to_string(i)},
                   {"choices", {"one", "two " + std::to_string(i), "three", "no"}},
                   {"gold", i % 4}}
                  .dump() +
              "\n";
      lambada += Json{{"context", "He saw the house " + std::to_string(i) + " and the"},
                      {"continuation", "fire"}}
                     .dump() +
                 "\n";
    }
    dir_.write("sciq.jsonl", sciq);
    dir_.write("lambada_openai.jsonl", lambada);
    common_.engine.model = dir_.path();
    common_.engine.random_weights = true;
    common_.engine.kv_dtype = DType::f32;
    common_.engine.batch_tokens = 16;  // an item or two a step
    tasks_.names = "lambada_openai,sciq";
    tasks_.data = dir_.path().string();
  }

  Json run(int ranks, const std::string& name) {
    common_.json = (dir_.path() / (name + ".json")).string();
    launch_virtual({ranks, 1},
                   [&](RankContext& context) { run_tasks(context, common_, tasks_, "auto"); });
    std::ifstream stream(common_.json);
    return Json::parse(stream);
  }

  std::vector<std::string> lines(const std::string& file) const {
    std::ifstream stream(file);
    std::vector<std::string> result;
    for (std::string line; std::getline(stream, line);) result.push_back(line);
    return result;
  }

  TempDir dir_;
  CommonOptions common_;
  TaskOptions tasks_;
};

TEST_F(TaskEval, RanksAgreeWithOneRank) {
  const Json one = run(1, "one");
  EXPECT_EQ(one["schema"], "spd.tasks/1");
  EXPECT_EQ(one["tasks"]["sciq"]["items"], kItems);
  EXPECT_TRUE(one["tasks"]["lambada_openai"]["perplexity"]["value"].is_number());
  EXPECT_FALSE(one["tasks"]["sciq"]["acc"].contains("baseline"));
  for (const int ranks : {2, 3}) {
    const Json several = run(ranks, "several");
    for (const char* metric : {"acc", "acc_norm"}) {
      EXPECT_EQ(several["tasks"]["sciq"][metric], one["tasks"]["sciq"][metric]);
      EXPECT_EQ(several["mean"][metric], one["mean"][metric]);
    }
    const double wanted = one["tasks"]["lambada_openai"]["perplexity"]["value"];
    EXPECT_NEAR(several["tasks"]["lambada_openai"]["perplexity"]["value"].get<double>() / wanted,
                1.0, 1e-4);
  }
}

TEST_F(TaskEval, ComparesThePlanWithTheBaselineItemByItem) {
  common_.engine.drop = {"attn:all"};
  tasks_.items = (dir_.path() / "items.jsonl").string();
  const Json json = run(3, "plan");
  const auto written = lines(tasks_.items);
  ASSERT_EQ(written.size(), 1U + 2U * kItems);
  double plan = 0.0;
  double baseline = 0.0;
  int gained = 0;
  for (std::size_t i = 1; i < written.size(); ++i) {
    const Json item = Json::parse(written[i]);
    if (item["task"] != "sciq") continue;
    plan += item["plan"]["acc"].get<double>() / kItems;
    baseline += item["baseline"]["acc"].get<double>() / kItems;
    gained += item["plan"]["acc"] > item["baseline"]["acc"] ? 1 : 0;
    EXPECT_NE(item["plan"]["log_likelihood_nats"], item["baseline"]["log_likelihood_nats"]);
  }
  const Json& acc = json["tasks"]["sciq"]["acc"];
  EXPECT_NEAR(acc["value"].get<double>(), plan, 1e-12);
  EXPECT_NEAR(acc["baseline"].get<double>(), baseline, 1e-12);
  EXPECT_NEAR(acc["difference"].get<double>(), plan - baseline, 1e-12);
  EXPECT_EQ(acc["gained"], gained);
  EXPECT_EQ(json["syncs"]["drop"], json["model"]["blocks"]);
}

// A repair that replaces weights, on another split of the heads, is the plan's alone: the baseline
// is the model as it came.
TEST_F(TaskEval, TheBaselineOfARepairedPlanIsTheModelAsItWas) {
  const auto folder = dir_.path();
  tasks_.items = (folder / "as-it-came.jsonl").string();
  run(2, "as-it-came");
  const auto original = lines(tasks_.items);

  launch_virtual({2, 1}, [&](RankContext& context) {
    Engine engine(context, common_.engine, 32);
    SyncPlan plan = engine.plan();
    std::swap(plan.partition.blocks[0][0].neurons, plan.partition.blocks[0][1].neurons);
    plan.levels.at(0, SyncPoint::attn) = plan.levels.at(1, SyncPoint::attn) = SyncLevel::drop;
    std::vector<RankRepair> ranks(2, RankRepair(engine.config().blocks));
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      HostMatrix& down = ranks[rank][1].weights["down"];
      down = HostMatrix(engine.config().hidden,
                        static_cast<std::int64_t>(plan.partition.blocks[1][rank].neurons.size()));
      for (std::size_t i = 0; i < down.values.size(); ++i) {
        down.values[i] = 0.01f * static_cast<float>(i % 7);
      }
    }
    if (!context.root()) return;
    const auto file = folder / "repaired.safetensors";
    plan.repair = RepairReference{file, RepairFile::write(file, plan, ranks, DType::f32)};
    dir_.write("repaired.json", plan.to_json(engine.config(), folder).dump());
  });
  common_.engine.plan = folder / "repaired.json";
  tasks_.items = (folder / "repaired.jsonl").string();
  const Json json = run(2, "repaired");
  EXPECT_EQ(json["baseline"]["drop"], 0);
  const auto repaired = lines(tasks_.items);
  ASSERT_EQ(repaired.size(), original.size());
  double largest = 0.0;
  for (std::size_t i = 1; i < original.size(); ++i) {
    const auto as_it_was = Json::parse(original[i])["plan"]["log_likelihood_nats"];
    const Json item = Json::parse(repaired[i]);
    for (std::size_t request = 0; request < as_it_was.size(); ++request) {
      const double wanted = as_it_was[request];
      EXPECT_NEAR(item["baseline"]["log_likelihood_nats"][request].get<double>(), wanted, 1e-3);
      largest = std::max(
          largest, std::abs(item["plan"]["log_likelihood_nats"][request].get<double>() - wanted));
    }
  }
  EXPECT_GT(largest, 0.01);  // it does make a difference to the plan
}

TEST_F(TaskEval, ShardsMergeIntoTheWhole) {
  const Json whole = run(1, "whole");
  const std::string merged = (dir_.path() / "merged.jsonl").string();
  std::ofstream stream(merged);
  for (const char* shard : {"0/2", "1/2"}) {
    tasks_.shard = shard;
    tasks_.items = (dir_.path() / "part.jsonl").string();
    std::filesystem::remove(tasks_.items);
    run(1, "part");
    for (const auto& line : lines(tasks_.items)) stream << line << '\n';
  }
  stream.close();
  tasks_.shard = "0/1";
  tasks_.items = merged;
  const Json again = run(1, "again");
  EXPECT_EQ(again["items_taken_from_file"], 2 * kItems);
  EXPECT_EQ(again["requests"], 0);
  EXPECT_EQ(again["tasks"]["sciq"], whole["tasks"]["sciq"]);
}

TEST_F(TaskEval, GoesOnWhereItWasInterrupted) {
  tasks_.items = (dir_.path() / "items.jsonl").string();
  const Json whole = run(2, "whole");
  const auto all = lines(tasks_.items);
  // As after a kill: half of the items, the last line cut off.
  {
    std::ofstream stream(tasks_.items, std::ios::binary);
    for (std::size_t i = 0; i < all.size() / 2; ++i) stream << all[i] << '\n';
    stream << all.back().substr(0, 20);
  }
  const Json again = run(2, "again");
  EXPECT_EQ(again["items_taken_from_file"], static_cast<int>(all.size() / 2) - 1);
  for (const char* task : {"sciq", "lambada_openai"}) {
    EXPECT_EQ(again["tasks"][task]["acc"], whole["tasks"][task]["acc"]) << task;
  }
  EXPECT_EQ(lines(tasks_.items).size(), all.size());

  common_.engine.drop = {"attn:0"};
  expect_input_error([&] { run(2, "other"); }, {"another run", "--items"});
}

TEST_F(TaskEval, MissingDataIsNamed) {
  tasks_.names = "all";
  expect_input_error([&] { run(2, "none"); }, {"piqa.jsonl: no such file", "--data"});
  for (const char* shard : {"2/2", "-1/2", "1", "a/b", "0/2x", "0/0"}) {
    tasks_.shard = shard;
    EXPECT_THROW(run(1, "none"), Error) << shard;
  }
}

TEST_F(TaskEval, AShardMayHoldNoItem) {
  tasks_.shard = "49/50";
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const Json none = run(1, "none");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("--shard 49/50 holds no item of sciq"));
  EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::HasSubstr("there is no item"));
  EXPECT_EQ(none["tasks"], Json::object());
}

// In a process of its own: the signal stays known to it.
TEST_F(TaskEval, StopsInOrderAtASignal) {
  tasks_.items = (dir_.path() / "items.jsonl").string();
  const auto stop = [&] {
    catch_interrupts();
    std::raise(SIGTERM);
    try {
      run(2, "stopped");
    } catch (const AgreedError& error) {
      std::fputs(error.what(), stderr);
      std::_Exit(error.exit_status());
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(stop(), testing::ExitedWithCode(75), "interrupted by SIGTERM.*the same command");
  EXPECT_EQ(run(2, "again")["requests"], 5 * kItems);
}

}  // namespace
}  // namespace spd
