// Sync plans as files and as command-line selections.
#include "model/sync_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kernels/device/error.h"

namespace spd {
namespace {

const std::filesystem::path kModel = std::filesystem::path(SPD_FIXTURES) / "models" / "llama";

class SyncPlanFile : public testing::Test {
 protected:
  ModelConfig config_ = ModelConfig::load(kModel);
  Topology topology_ = Topology::contiguous(4, 2);
  SyncPlan plan_ = SyncPlan::all_full(config_, topology_);
};

TEST_F(SyncPlanFile, ComesBackAsItWasWritten) {
  plan_.levels.attn[0] = SyncLevel::drop;
  plan_.levels.mlp[0] = SyncLevel::node;
  plan_.levels.attn_wire[1] = WireFormat::int8;
  plan_.levels.mlp_wire[0] = WireFormat::bf16;
  const SyncPlan read = SyncPlan::from_json(plan_.to_json(config_), "test", config_, topology_);
  EXPECT_EQ(read.levels, plan_.levels);
  EXPECT_EQ(read.partition, plan_.partition);
}

TEST_F(SyncPlanFile, IsF32WhereItSaysNothingOfWireFormats) {
  auto json = plan_.to_json(config_);
  json.erase("wire");
  EXPECT_EQ(SyncPlan::from_json(json, "test", config_, topology_).levels, plan_.levels);
}

TEST_F(SyncPlanFile, RefusesWireFormatsThatAreNot) {
  for (const auto& [wire, says] : std::vector<std::pair<nlohmann::json, const char*>>{
           {{{"attn", {"f32", "f16"}}, {"mlp", {"f32", "f32"}}}, "f16"},
           {{{"attn", {"f32"}}, {"mlp", {"f32", "f32"}}}, "1 attn and 2 mlp wire formats"},
           {{{"attn", {"f32", "f32"}}}, "mlp"}}) {
    auto json = plan_.to_json(config_);
    json["wire"] = wire;
    try {
      SyncPlan::from_json(json, "t.json", config_, topology_);
      FAIL() << wire;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("t.json"));
      EXPECT_THAT(error.what(), testing::HasSubstr(says));
    }
  }
}

TEST(SyncSelection, SetsWireFormats) {
  SyncLevels levels = SyncLevels::all_full(4);
  apply_wire_selection("--wire", "bf16=attn:all", levels);
  apply_wire_selection("--wire", "int8=mlp:1-2", levels);
  apply_selection("--drop", "attn:3", SyncLevel::drop, levels);
  const std::vector<WireFormat> bf16(4, WireFormat::bf16);
  EXPECT_EQ(levels.attn_wire, bf16);
  EXPECT_EQ(levels.mlp_wire,
            (std::vector{WireFormat::f32, WireFormat::int8, WireFormat::int8, WireFormat::f32}));
  EXPECT_EQ(levels.count(WireFormat::bf16), 3);  // the dropped one sends nothing
  EXPECT_EQ(levels.count(WireFormat::int8), 2);
  levels.validate(4);
}

TEST(SyncSelection, LeavesTheLastSyncFull) {
  SyncLevels levels = SyncLevels::all_full(3);
  apply_selection("--drop", "mlp:all", SyncLevel::drop, levels);
  EXPECT_EQ(levels.count(SyncLevel::drop), 2);
  levels.validate(3);
  apply_selection("--drop", "mlp:2", SyncLevel::drop, levels);
  EXPECT_THROW(levels.validate(3), Error);
}

TEST(SyncSelection, SaysWhatIsWrong) {
  for (const auto& [text, says] : std::vector<std::pair<const char*, const char*>>{
           {"attn:1", "no format"},
           {"f16=attn:1", "f16"},
           {"bf16=attn:9", "bf16=attn:9: the model has blocks 0 to 3"},
           {"bf16=qkv:1", "does not begin with attn: or mlp:"},
           {"bf16=mlp:2-1", "runs backwards"},
           {"bf16=mlp:x", "not a block number"}}) {
    SyncLevels levels = SyncLevels::all_full(4);
    try {
      apply_wire_selection("--wire", text, levels);
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(says));
    }
  }
}

TEST(SyncLevels, HaveOneKeyAsLongAsTheyRunAlike) {
  SyncLevels levels = SyncLevels::all_full(2);
  const std::string full = levels.key();
  levels.attn[1] = SyncLevel::drop;
  const std::string dropped = levels.key();
  EXPECT_NE(dropped, full);
  levels.attn_wire[1] = WireFormat::int8;
  EXPECT_EQ(levels.key(), dropped);
  levels.attn_wire[0] = WireFormat::int8;
  EXPECT_NE(levels.key(), dropped);
}

}  // namespace
}  // namespace spd
