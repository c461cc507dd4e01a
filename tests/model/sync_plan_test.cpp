// Sync plans as files and as command-line selections.
#include "model/sync_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kernels/device/error.h"

namespace spd {
namespace {

using Json = nlohmann::json;

const std::filesystem::path kModel = std::filesystem::path(SPD_FIXTURES) / "models" / "llama";

class SyncPlanFile : public testing::Test {
 protected:
  ModelConfig config_ = ModelConfig::load(kModel);
  Topology topology_ = Topology::contiguous(4, 2);
  SyncPlan plan_ = SyncPlan::all_full(config_, topology_);
};

TEST_F(SyncPlanFile, ComesBackAsItWasWritten) {
  plan_.levels.at(0, SyncPoint::attn) = SyncLevel::drop;
  plan_.levels.at(0, SyncPoint::mlp) = SyncLevel::node;
  plan_.levels.wire_at(1, SyncPoint::attn) = WireFormat::int8;
  plan_.levels.wire_at(0, SyncPoint::mlp) = WireFormat::bf16;
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

TEST_F(SyncPlanFile, NamesTheKeyThatIsWrong) {
  struct Case {
    const char* place;
    Json value;
    std::vector<const char*> says;
  };
  plan_.levels.at(0, SyncPoint::attn) = SyncLevel::node;
  std::swap(plan_.partition.blocks[0][0].neurons[0], plan_.partition.blocks[0][1].neurons[0]);
  Json good = plan_.to_json(config_);
  good["repair"] = {{"file", "p.safetensors"}, {"hash", "00"}};
  ASSERT_NO_THROW(SyncPlan::from_json(good, "t.json", config_, topology_));
  for (const auto& [place, value, says] : std::vector<Case>{
           {"/schema", "spd.plan/2", {"schema", "spd.plan/2"}},
           {"/schema", 5, {"schema"}},
           {"/tp", 4294967300LL, {"tp must be an integer", "4294967300"}},
           {"/tp", 4.9, {"tp must be an integer", "4.9"}},
           {"/tp", 1e308, {"tp must be an integer"}},
           {"/tp", -4, {"tp must be an integer"}},
           {"/tp", "4", {"tp must be an integer"}},
           {"/tp", 5, {"tp", "5 ranks"}},
           {"/model", "x", {"model must be an object"}},
           {"/model/fingerprint", "\u001b[2Jz", {"model.fingerprint", "u001b"}},
           {"/model/fingerprint", 7, {"model.fingerprint must be a string"}},
           {"/ranks_per_node", Json::array({2, 4294967298LL}), {"ranks_per_node"}},
           {"/ranks_per_node", Json::array({4}), {"ranks_per_node", "within nodes of [4]"}},
           {"/partition/kind", "odd", {"partition.kind", "odd"}},
           {"/partition/blocks", Json::array(), {"0 blocks"}},
           {"/partition/blocks/0", Json::array(), {"blocks[0]", "0 ranks"}},
           {"/partition/blocks/0/1", 5, {"blocks[0]"}},
           {"/partition/blocks/0/1/q_heads", Json::array({1e308}), {"blocks[0][1].q_heads"}},
           {"/partition/blocks/0/1/neurons", Json::array({4294967296LL}), {"blocks[0][1].neurons"}},
           {"/partition/blocks/0/1/neurons", Json::array({2147483647}), {"neuron 2147483647"}},
           {"/levels/mlp", Json::array(), {"levels.mlp", "0 levels"}},
           {"/levels/attn", Json::array({"full", 5}), {"levels.attn"}},
           {"/levels/attn/1", "never", {"levels.attn[1]", "never"}},
           {"/wire/attn", 5, {"wire.attn"}},
           {"/level", 5, {"\"level\" is unknown", "did you mean \"levels\"", "leave it out"}},
           {"/wires", 5, {"\"wires\" is unknown", "did you mean \"wire\""}},
           {"/model/fingerprints", 5, {"model.\"fingerprints\" is unknown"}},
           {"/levels/atn", 5, {"levels.\"atn\" is unknown", "\"attn\""}},
           {"/wire/mpl", 5, {"wire.\"mpl\" is unknown"}},
           {"/partition/block", 5, {"partition.\"block\" is unknown"}},
           {"/partition/blocks/0/1/heads", 5, {"blocks[0][1].\"heads\" is unknown"}},
           {"/repair/sum", "00", {"repair.\"sum\" is unknown"}},
           {"/repair", 5, {"repair must be an object"}},
           {"/repair/hash", 5, {"repair.hash"}},
           {"/repair/file", "", {"repair.file", "beside the plan"}},
           {"/repair/file", "..", {"repair.file", "beside the plan"}},
           {"/repair/file", "/dev/zero", {"repair.file", "/dev/zero", "--any-repair-path"}},
           {"/repair/file", "../p.safetensors", {"repair.file", "--any-repair-path"}},
           {"/repair/file", "sub/p.safetensors", {"repair.file", "--any-repair-path"}}}) {
    Json bad = good;
    bad[Json::json_pointer(place)] = value;
    try {
      SyncPlan::from_json(bad, "t.json", config_, topology_);
      ADD_FAILURE() << place << " " << value;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input);
      EXPECT_THAT(error.what(), testing::StartsWith("t.json: "));
      EXPECT_THAT(error.what(), testing::HasSubstr("remedy: "));
      for (const char* part : says) EXPECT_THAT(error.what(), testing::HasSubstr(part));
    }
  }
  good["repair"]["file"] = "../p.safetensors";
  EXPECT_EQ(
      SyncPlan::from_json(good, "a/t.json", config_, topology_, RepairPaths::any).repair->file,
      "a/../p.safetensors");
}

TEST_F(SyncPlanFile, HasARemedyWhateverItsNameAndContentSay) {
  Json bad = plan_.to_json(config_);
  bad["levels"]["mlp"].back() = "drop";
  for (const std::string origin : {"plan.json", "remedy: plan.json"}) {
    try {
      SyncPlan::from_json(bad, origin, config_, topology_);
      ADD_FAILURE() << origin;
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), testing::StartsWith(origin + ": the last sync point"));
      EXPECT_THAT(error.remedy(), testing::HasSubstr("out of the plan"));
      EXPECT_EQ(error.what(), error.message() + "\n  remedy: " + error.remedy());
    }
  }
  bad = plan_.to_json(config_);
  bad["levels"]["mlp"] = Json::array();
  try {
    SyncPlan::from_json(bad, "remedy: plan.json", config_, topology_);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.remedy(), testing::StartsWith("make the plan again"));
  }
}

TEST(SyncLevels, SayWhatTheyLeaveOut) {
  SyncLevels levels = SyncLevels::all_full(3);
  EXPECT_FALSE(levels.leaves_out());
  EXPECT_EQ(levels.describe(), "6 full, 0 node, 0 dropped syncs a pass");
  levels.at(1, SyncPoint::mlp) = SyncLevel::node;
  EXPECT_TRUE(levels.leaves_out());
  EXPECT_FALSE(levels.leaves_out(0));
  EXPECT_TRUE(levels.leaves_out(1));
  EXPECT_FALSE(levels.leaves_out(2, 3));
  EXPECT_TRUE(levels.leaves_out(0, 2));
  levels.at(2, SyncPoint::attn) = SyncLevel::drop;
  levels.wire.attn.assign(3, WireFormat::int8);
  EXPECT_EQ(levels.describe(), "4 full, 1 node, 1 dropped syncs a pass, 2 as int8");
}

TEST(SyncLevels, HaveOneOutput) {
  for (std::int64_t block = 0; block < 3; ++block) {
    EXPECT_FALSE(is_output(block, SyncPoint::attn, 3));
    EXPECT_EQ(is_output(block, SyncPoint::mlp, 3), block == 2);
  }
}

TEST(SyncSelection, SetsWireFormats) {
  SyncLevels levels = SyncLevels::all_full(4);
  apply_wire_selection("--wire", "bf16=attn:all", levels);
  apply_wire_selection("--wire", "int8=mlp:1-2", levels);
  apply_selection("--drop", "attn:3", SyncLevel::drop, levels);
  const std::vector<WireFormat> bf16(4, WireFormat::bf16);
  EXPECT_EQ(levels.wire.attn, bf16);
  EXPECT_EQ(levels.wire.mlp,
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
  levels.at(1, SyncPoint::attn) = SyncLevel::drop;
  const std::string dropped = levels.key();
  EXPECT_NE(dropped, full);
  levels.wire_at(1, SyncPoint::attn) = WireFormat::int8;
  EXPECT_EQ(levels.key(), dropped);
  levels.wire_at(0, SyncPoint::attn) = WireFormat::int8;
  EXPECT_NE(levels.key(), dropped);
}

TEST(SyncSelection, NamesBlocks) {
  EXPECT_THAT(select_blocks("--blocks", "0-2,5,1", 6), testing::ElementsAre(0, 1, 2, 5));
  for (const char* bad : {"6", "2-1", "x", "attn:1", "1,,2", "-1"}) {
    try {
      select_blocks("--blocks", bad, 6);
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_THAT(error.what(), testing::HasSubstr(std::string("--blocks ") + bad));
      EXPECT_THAT(error.what(), testing::HasSubstr("write for example --blocks 0-3"));
    }
  }
}

}  // namespace
}  // namespace spd
