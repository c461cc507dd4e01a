// The file that carries repairs, and what refers to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "kernels/device/cpu_device.h"
#include "kernels/operators.h"
#include "model/fingerprint.h"
#include "model/repair.h"
#include "model/sync_plan.h"
#include "tests/model/random_repair.h"
#include "tests/model/temp_dir.h"

namespace spd {
namespace {

const std::filesystem::path kModels = std::filesystem::path(SPD_FIXTURES) / "models";
constexpr int kRanks = 4;

class RepairFiles : public testing::Test {
 protected:
  TempDir dir_;
  ModelConfig config_ = ModelConfig::load(kModels / "llama");
  SyncPlan plan_ = make_plan();
  std::vector<RankRepair> ranks_ = make_repairs();
  std::filesystem::path file_ = dir_.path() / "r.safetensors";

  SyncPlan make_plan() const {
    SyncPlan plan = SyncPlan::all_full(config_, Topology::contiguous(kRanks, 2));
    plan.levels.level.attn.assign(config_.blocks, SyncLevel::drop);
    plan.levels.level.mlp.assign(config_.blocks, SyncLevel::node);
    plan.levels.level.mlp.back() = SyncLevel::full;
    return plan;
  }
  std::vector<RankRepair> make_repairs() const {
    std::vector<RankRepair> ranks;
    std::mt19937 random(3);
    for (int rank = 0; rank < kRanks; ++rank) {
      ranks.push_back(random_repair(config_, plan_.partition, rank, plan_.levels, 5));
      const auto neurons =
          static_cast<std::int64_t>(plan_.partition.blocks[1][rank].neurons.size());
      ranks.back()[1].weights["down"] = random_matrix(config_.hidden, neurons, random);
    }
    return ranks;
  }
  std::string refusal(const SyncPlan& plan) const {
    try {
      RepairFile(file_, plan).load(0);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(RepairFiles, RoundTrip) {
  const auto hash = RepairFile::write(file_, plan_, ranks_, DType::f32);
  EXPECT_EQ(hash, file_hash(file_));
  const RepairFile file(file_, plan_);
  for (int rank = 0; rank < kRanks; ++rank) {
    const RankRepair read = file.load(rank);
    ASSERT_EQ(read.size(), ranks_[rank].size());
    for (std::size_t block = 0; block < read.size(); ++block) {
      for (const SyncPoint point : kSyncPoints) {
        const auto &ours = read[block].prediction[point],
                   &theirs = ranks_[rank][block].prediction[point];
        ASSERT_TRUE(ours.has_value());
        EXPECT_EQ(ours->level, theirs->level);
        EXPECT_EQ(ours->k(), theirs->k());
        EXPECT_EQ(ours->from_input.values, theirs->from_input.values);
        EXPECT_EQ(ours->from_inner.values, theirs->from_inner.values);
        EXPECT_EQ(ours->to_hidden.values, theirs->to_hidden.values);
        EXPECT_EQ(ours->mean.values, theirs->mean.values);
      }
      EXPECT_EQ(read[block].weights.size(), ranks_[rank][block].weights.size());
    }
    EXPECT_EQ(read[1].weights.at("down").values, ranks_[rank][1].weights.at("down").values);
  }
}

TEST_F(RepairFiles, AnotherPlanIsRefused) {
  RepairFile::write(file_, plan_, ranks_, DType::bf16);
  EXPECT_EQ(refusal(plan_), "");
  const std::pair<const char*, std::function<void(SyncPlan&)>> changes[] = {
      {"another model", [](SyncPlan& plan) { plan.fingerprint = "0123456789abcdef"; }},
      {"another ranks_per_node",
       [](SyncPlan& plan) {
         plan.ranks_per_node = {1, 3};
       }},
      {"another tp",
       [&](SyncPlan& plan) { plan.partition = Partition::contiguous(config_, kRanks - 1); }},
      {"another partition",
       [](SyncPlan& plan) {
         std::swap(plan.partition.blocks[0][0].neurons[0], plan.partition.blocks[0][1].neurons[0]);
       }},
      {"block 1 attn was repaired for level drop, the plan says node",
       [](SyncPlan& plan) { plan.levels.at(1, SyncPoint::attn) = SyncLevel::node; }},
  };
  for (const auto& [expected, change] : changes) {
    SyncPlan plan = plan_;
    change(plan);
    EXPECT_NE(refusal(plan).find(expected), std::string::npos) << expected << ": " << refusal(plan);
  }
  SyncPlan elsewhere = plan_;  // nothing that stays within nodes: they may be others
  elsewhere.levels.level.mlp.assign(config_.blocks, SyncLevel::full);
  elsewhere.ranks_per_node = {1, 3};
  EXPECT_NE(refusal(elsewhere), "") << "the repairs are of syncs within nodes";
  std::vector<RankRepair> dropped;
  for (int rank = 0; rank < kRanks; ++rank) {
    dropped.push_back(random_repair(config_, plan_.partition, rank, elsewhere.levels, 5));
  }
  RepairFile::write(file_, elsewhere, dropped, DType::bf16);
  elsewhere.ranks_per_node = {2, 2};
  EXPECT_EQ(refusal(elsewhere), "");
  RepairFile::write(file_, plan_, ranks_, DType::bf16);

  SyncPlan fewer = plan_;  // a sync that is full after all needs no repair
  fewer.levels.at(1, SyncPoint::attn) = SyncLevel::full;
  EXPECT_EQ(refusal(fewer), "");
}

TEST_F(RepairFiles, DamagedOnesAreRepairedNotDownloaded) {
  RepairFile::write(file_, plan_, ranks_, DType::bf16);
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) / 2);
  EXPECT_THAT(refusal(plan_), testing::HasSubstr("truncated\n  remedy: repair again"));
  std::ofstream(file_) << "not a safetensors file, but long enough";
  EXPECT_THAT(refusal(plan_), testing::HasSubstr("remedy: repair again"));
}

TEST_F(RepairFiles, PlanRefersToItByPathAndContent) {
  plan_.repair = RepairReference{file_, RepairFile::write(file_, plan_, ranks_, DType::f32)};
  const auto plan_file = dir_.path() / "plan.json";
  std::ofstream(plan_file) << plan_.to_json(config_, dir_.path());
  const SyncPlan read = SyncPlan::load(plan_file, config_, Topology::contiguous(kRanks, 2));
  ASSERT_TRUE(read.repair.has_value());
  EXPECT_TRUE(std::filesystem::equivalent(read.repair->file, file_));
  EXPECT_EQ(read.repair->hash, plan_.repair->hash);

  CpuDevice device;
  const auto operators = make_cpu_operators(device, {1, {}});
  const auto source = make_checkpoint_source(Checkpoint::open(kModels / "llama"));
  Shard shard = load_shard(config_, plan_.partition, 0, *source, *operators);
  install_repair(read, 0, shard, *operators);
  EXPECT_TRUE(shard.blocks[0].prediction.attn.has_value());

  ranks_[0][0].prediction.attn->mean.values[0] += 1.0f;  // another file under the same name
  RepairFile::write(file_, plan_, ranks_, DType::f32);
  EXPECT_THROW(install_repair(read, 0, shard, *operators), Error);
  ranks_[0][0].prediction.attn->mean.values[0] = NAN;
  plan_.repair->hash = RepairFile::write(file_, plan_, ranks_, DType::f32);
  EXPECT_THROW(install_repair(plan_, 0, shard, *operators), Error);
}

TEST_F(RepairFiles, DamageIsRefusedByFile) {
  const auto load = [&](const std::string& levels) {
    RepairFile::write(file_, plan_, ranks_, DType::f32);
    const std::string whole = plan_.levels.to_json().dump();
    std::ifstream stream(file_, std::ios::binary);
    std::string content((std::istreambuf_iterator<char>(stream)), {});
    std::string quoted = nlohmann::json(whole).dump();
    std::string other = nlohmann::json(levels).dump();
    ASSERT_LE(other.size(), quoted.size());
    other.insert(other.size() - 1, std::string(quoted.size() - other.size(), ' '));
    const std::size_t at = content.find(quoted);
    ASSERT_NE(at, std::string::npos);
    content.replace(at, quoted.size(), other);
    std::ofstream(file_, std::ios::binary) << content;
    expect_input_error([&] { RepairFile(file_, plan_); }, {file_.string(), "levels"});
  };
  load(R"({"attn": ["drop"], "mlp": []})");
  load(R"({"attn": [], "mlp": []})");
  load(R"({"attn": ["drop", 5], "mlp": []})");
  load("[]");
  load("nonsense");
}

TEST_F(RepairFiles, OnlyRegularFilesAreRead) {
  CpuDevice device;
  const auto operators = make_cpu_operators(device, {1, {}});
  Shard shard;
  const auto fifo = dir_.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const std::filesystem::path& file :
       {std::filesystem::path("/dev/zero"), fifo, std::filesystem::path(dir_.path()),
        std::filesystem::path("/no/such")}) {
    plan_.repair = RepairReference{file, "00"};
    expect_input_error([&] { install_repair(plan_, 0, shard, *operators); }, {file.string()});
  }
  RepairFile::write(file_, plan_, ranks_, DType::f32);
  plan_.repair = RepairReference{file_, "00"};
  try {
    install_repair(plan_, 0, shard, *operators);
    FAIL();
  } catch (const Error& error) {  // what other files come to is not told
    EXPECT_EQ(std::string(error.what()).find(file_hash(file_)), std::string::npos);
  }
}

}  // namespace
}  // namespace spd
