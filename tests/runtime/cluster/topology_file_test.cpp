#include "runtime/cluster/topology_file.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

TEST(TopologyFile, ComesBackAsItWasWritten) {
  LinkCurve curve;
  curve.group = LinkGroup::node;
  curve.wire = WireFormat::bf16;
  curve.algorithm = "ring";
  curve.backend = "shm";
  curve.samples = {{1024, 10.5, 12, 13}, {2048, 11, 12, 13}, {4096, 20, 30, 40}};
  curve.segments = {{0, 10, 0.001}, {3000, 1.0 / 3.0, 0.0049}};
  const TopologyFile written{"two hosts", "measured by spd topo", LinkModel({3, 1}, {curve})};
  const TempDir dir;
  const auto file = dir.write("topology.json", to_json(written).dump());
  const TopologyFile read = TopologyFile::load(file);
  EXPECT_EQ(to_json(read), to_json(written));
  EXPECT_EQ(read.links.find(LinkGroup::node, WireFormat::bf16, "ring")->predict_us(5000),
            curve.predict_us(5000));
}

TEST(TopologyFile, TheLeastThatCanBeWrittenByHand) {
  const TempDir dir;
  const auto file = dir.write("dgx.json", R"({"schema": "spd.topology/1", "ranks_per_node": [8, 8],
    "all_reduce": [{"group": "node", "alpha_us": 12, "us_per_byte": 4e-6},
                   {"group": "cross", "alpha_us": 0, "us_per_byte": 1e-4},
                   {"group": "world", "samples": [{"bytes": 1000, "p50_us": 20},
                                                  {"bytes": 2000, "p50_us": 30}]}]})");
  const TopologyFile topology = TopologyFile::load(file);
  EXPECT_EQ(topology.machine, "dgx");
  EXPECT_EQ(topology.links.ranks(LinkGroup::world), 16);
  EXPECT_DOUBLE_EQ(topology.links.predict_us(LinkGroup::node, 1000000), 16);
  EXPECT_NEAR(topology.links.predict_us(LinkGroup::cross, 1000000), 100, 1e-9);
  EXPECT_NEAR(topology.links.predict_us(LinkGroup::world, 3000), 40, 1e-9);
}

struct Bad {
  const char* text;
  std::vector<std::string> says;
};

TEST(TopologyFile, SaysWhatIsWrong) {
  const std::vector<Bad> table = {
      {R"({"schema": "spd.plan/1"})", {"schema", "spd.plan/1", "spd topo"}},
      {R"({"schema": "spd.topology/2", "version": "9.1"})", {"schema", "spd.topology/2", "9.1"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2, 0]})", {"ranks_per_node", "from 1"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2147483647, 2147483647]})",
       {"ranks_per_node", "2147483647"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2.9]})", {"ranks_per_node"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce":
           [{"group": "node", "alpha_us": 1e308, "us_per_byte": 1e999}]})",
       {"us_per_byte"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2]})", {"all_reduce", "missing"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce":
           [{"group": "node", "alpha_us": 1, "us_per_byte": 1}, {"group": "rack"}]})",
       {"all_reduce[1].group", "rack", "node, cross or world"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce": [{"group": "node"}]})",
       {"all_reduce[0].alpha_us", "missing"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce":
           [{"group": "node", "alpha_us": 1, "us_per_byte": -1}]})",
       {"t.json", "group \"node\", auto f32", "positive times"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce":
           [{"group": "node", "wire": "fp4", "alpha_us": 1, "us_per_byte": 1}]})",
       {"all_reduce[0].wire", "fp4"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce":
           [{"group": "node", "samples": [{"bytes": 8, "p50_us": 1}, {"bytes": 8, "p50_us": 1}]}]})",
       {"all_reduce[0].samples", "ascend"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce":
           [{"group": "node", "segments": [{"from_bytes": 8, "alpha_us": 1, "us_per_byte": 1}]}]})",
       {"t.json", "begin at 0 bytes"}},
      {R"({"schema": "spd.topology/1", "rank_per_node": [2], "ranks_per_node": [2]})",
       {"\"rank_per_node\" is unknown", "did you mean \"ranks_per_node\""}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce":
           [{"group": "node", "alpha_us": 1, "us_per_byte": 1, "alpha_ms": 1}]})",
       {"all_reduce[0].\"alpha_ms\" is unknown", "\"alpha_us\""}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce":
           [{"group": "node", "samples": [{"bytes": 8, "p50": 1, "p50_us": 1}]}]})",
       {"all_reduce[0].samples[0].\"p50\" is unknown"}},
      {R"({"schema": "spd.topology/1", "ranks_per_node": [2], "all_reduce":
           [{"group": "node", "segments": [{"from": 8, "alpha_us": 1, "us_per_byte": 1}]}]})",
       {"all_reduce[0].segments[0].\"from\" is unknown"}},
  };
  for (const Bad& bad : table) {
    const TempDir dir;
    const auto file = dir.write("t.json", bad.text);
    expect_input_error([&] { TopologyFile::load(file); }, bad.says);
  }
}

TEST(TopologyFile, IsFittedWithinASecondOrRefused) {
  const auto samples_of = [](int count) {
    nlohmann::json samples;
    for (int i = 1; i <= count; ++i) samples.push_back({{"bytes", i * 64}, {"p50_us", 10 + i % 7}});
    return nlohmann::json{{"schema", "spd.topology/1"},
                          {"ranks_per_node", {2}},
                          {"all_reduce", {{{"group", "node"}, {"samples", samples}}}}}
        .dump();
  };
  const TempDir dir;
  const auto begin = std::chrono::steady_clock::now();
  TopologyFile::load(dir.write("t.json", samples_of(6000)));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took.count(), 20.0);  // cubic: minutes
  expect_input_error([&] { TopologyFile::load(dir.write("t.json", samples_of(10001))); },
                     {"all_reduce[0].samples", "10000"});
}

}  // namespace
}  // namespace spd
