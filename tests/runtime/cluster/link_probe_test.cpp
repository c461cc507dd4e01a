#include "runtime/cluster/link_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <nlohmann/json.hpp>

#include "comm/thread_communicator.h"
#include "runtime/cluster/inventory.h"

namespace spd {
namespace {

using testing::ElementsAre;
using testing::IsSupersetOf;

std::shared_ptr<Communicator> borrowed(Communicator* comm) {
  return {std::shared_ptr<void>(), comm};
}

TEST(LinkProbe, EveryRankGetsTheSameCurves) {
  ThreadGroup group(Topology::contiguous(4, 2));
  std::mutex mutex;
  std::vector<LinkProbe> probes;
  group.run([&](int rank) {
    const auto world = group.world(rank);
    const auto node = group.node(rank);
    const RankComms comms{rank, group.topology(), world.get(), node.get()};
    // Ranks 2 and 3 are not in the last one.
    const std::vector<ProbeTarget> targets = {
        {LinkGroup::world, LinkCurve::kAuto, WireFormat::f32, 4096, borrowed(world.get())},
        {LinkGroup::node, LinkCurve::kAuto, WireFormat::bf16, 2048, borrowed(node.get())},
        {LinkGroup::node, "other", WireFormat::f32, 4096,
         rank < 2 ? borrowed(node.get()) : nullptr}};
    std::int64_t last = 0;
    LinkProbe probe =
        probe_all_reduces(comms, targets, 0.2, [&](std::int64_t done, std::int64_t of) {
          // Measuring again what is in doubt gives signs of life, not progress.
          EXPECT_TRUE(done == last + 1 || (done == last && done == of)) << done << " of " << of;
          EXPECT_LE(done, of);
          last = done;
        });
    const std::lock_guard lock(mutex);
    probes.push_back(std::move(probe));
  });
  const auto sizes = [](const LinkCurve& curve) {
    std::vector<std::size_t> result;
    for (const TimeSample& sample : curve.samples) result.push_back(sample.bytes);
    return result;
  };
  for (const LinkProbe& probe : probes) {
    ASSERT_EQ(probe.curves.size(), 3u);
    EXPECT_THAT(sizes(probe.curves[0]),
                IsSupersetOf({256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096}));
    EXPECT_THAT(sizes(probe.curves[1]), IsSupersetOf({256, 384, 512, 768, 1024, 1536, 2048}));
    EXPECT_THAT(sizes(probe.curves[2]), ElementsAre(256, 1024, 4096));
    EXPECT_EQ(probe.curves[1].wire, WireFormat::bf16);
    ASSERT_EQ(probe.held_out.size(), 2u);
    EXPECT_EQ(probe.held_out[0].bytes, 1408u);
    for (std::size_t i = 0; i < probe.curves.size(); ++i) {
      const LinkCurve& curve = probe.curves[i];
      EXPECT_FALSE(curve.segments.empty());
      for (std::size_t s = 0; s < curve.samples.size(); ++s) {
        const TimeSample& sample = curve.samples[s];
        EXPECT_GT(sample.p50_us, 0);
        EXPECT_LE(sample.p50_us, sample.p99_us);
        EXPECT_LE(sample.p99_us, sample.max_us);
        EXPECT_EQ(sample.p50_us, probes[0].curves[i].samples[s].p50_us);
      }
    }
    EXPECT_EQ(probe.held_out[0].predicted_us, probe.curves[0].predict_us(1408));
  }
}

// Below and above what a packet of 1500 bytes holds beside its headers, in each format.
TEST(LinkProbe, SizesAroundAPacketsEnd) {
  ThreadGroup group(Topology::contiguous(2, 2));
  group.run([&](int rank) {
    const auto world = group.world(rank);
    const RankComms comms{rank, group.topology(), world.get(), nullptr};
    std::vector<ProbeTarget> targets;
    for (const WireFormat wire : kWireFormats) {
      targets.push_back(
          {LinkGroup::world, LinkCurve::kAuto, wire, 8192, borrowed(world.get()), 1500});
    }
    const LinkProbe probe =
        probe_all_reduces(comms, targets, 0.2, [](std::int64_t, std::int64_t) {});
    for (const LinkCurve& curve : probe.curves) {
      int below = 0, above = 0;
      for (const TimeSample& sample : curve.samples) {
        const std::size_t sent = wire_bytes(curve.wire, sample.bytes / sizeof(float));
        below += sent > 1500 - 92 - 64 && sent <= 1500 - 92 ? 1 : 0;
        above += sent > 1500 - 40 && sent <= 1500 - 40 + 64 ? 1 : 0;
      }
      EXPECT_GE(below, 1) << name(curve.wire);
      EXPECT_GE(above, 1) << name(curve.wire);
    }
    EXPECT_EQ(probe.held_out.at(0).bytes, 1280u);  // makes room for the size that fills a packet
  });
}

TEST(LinkProbe, TimesOfAPairReachThoseOutsideIt) {
  ThreadGroup group(Topology::contiguous(4, 2));
  group.run([&](int rank) {
    const auto world = group.world(rank);
    const auto node = group.node(rank);
    const RankComms comms{rank, group.topology(), world.get(), node.get()};
    const PairTimes times = probe_pair(comms, rank >= 2 ? node.get() : nullptr);
    EXPECT_GT(times.latency_us.p50, 0);
    EXPECT_GT(times.bandwidth_gb_per_s, 0);
  });
}

TEST(Survey, OnePairOfEachClass) {
  const Topology topology{{0, 0, 0, 1}, {"a", "b"}};
  const std::vector<nlohmann::json> nodes = {{{"numa_nodes_of_ranks", {{0}, {1}, {0}}}},
                                             {{"numa_nodes_of_ranks", {{0}}}}};
  std::vector<std::string> found;
  for (const RankPair& pair : pairs_to_probe(topology, nodes)) {
    found.push_back(std::string(pair.where) + " " + std::to_string(pair.first) + "-" +
                    std::to_string(pair.second));
  }
  EXPECT_THAT(found, ElementsAre("same node 0-1", "same NUMA node 0-2", "across nodes 0-3"));
}

TEST(Survey, EveryNodeOnEveryRank) {
  ThreadGroup group(Topology::contiguous(3, 2));
  group.run([&](int rank) {
    const auto world = group.world(rank);
    const auto node = group.node(rank);
    const auto nodes = survey_nodes({rank, group.topology(), world.get(), node.get()});
    ASSERT_EQ(nodes.size(), 2u);
    EXPECT_EQ(nodes[1]["name"], "node1");
    EXPECT_EQ(nodes[1]["ranks"], nlohmann::json({1, 2}));
    EXPECT_EQ(nodes[1]["numa_nodes_of_ranks"].size(), 2u);
    EXPECT_GE(nodes[1]["cores"], 1);
  });
}

}  // namespace
}  // namespace spd
