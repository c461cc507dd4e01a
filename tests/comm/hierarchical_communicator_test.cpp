// The composition on thread ranks; over emulated nodes it is in tests/cluster.
#include "comm/hierarchical_communicator.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>

#include "comm/thread_communicator.h"
#include "kernels/device/cpu_device.h"
#include "tests/comm/collective_checks.h"
#include "tests/comm/payload.h"

namespace spd {
namespace {

using namespace std::chrono_literals;

struct Case {
  std::vector<int> node_of_rank;
  int rails;
  std::size_t rails_from_bytes;
};

Topology topology_of(const std::vector<int>& groups) {
  Topology topology{groups, {}};
  const int count = *std::max_element(groups.begin(), groups.end()) + 1;
  for (int group = 0; group < count; ++group) {
    topology.node_names.push_back(fmt::format("n{}", group));
  }
  return topology;
}

class Hierarchies : public testing::TestWithParam<Case> {
 protected:
  Hierarchies()
      : topology_(topology_of(GetParam().node_of_rank)),
        nodes_(topology_, 60s),
        rails_(topology_of(local_ranks()), 60s) {}

  std::vector<int> local_ranks() const {
    std::vector<int> locals;
    for (int rank = 0; rank < topology_.ranks(); ++rank) {
      locals.push_back(topology_.local_rank(rank));
    }
    return locals;
  }

  HierarchicalCommunicator make(int rank) {
    HierarchicalCommunicator::Settings settings;
    settings.rails = GetParam().rails;
    settings.rails_from_bytes = GetParam().rails_from_bytes;
    settings.across_backend = "thread";
    const bool on_rail = topology_.local_rank(rank) < settings.rails;
    return {topology_,
            rank,
            nodes_.node(rank),
            on_rail ? std::shared_ptr<Communicator>(rails_.node(rank)) : nullptr,
            {},
            settings};
  }

  Topology topology_;
  ThreadGroup nodes_;
  ThreadGroup rails_;  // groups of equal local rank
};

TEST_P(Hierarchies, CollectivesAreRightAndTheSameEverywhere) {
  std::vector<std::vector<int>> contributions;
  for (int node = 0; node < topology_.nodes(); ++node) {
    contributions.push_back(topology_.ranks_of_node(node));
  }
  std::vector<int> everyone(topology_.ranks());
  std::iota(everyone.begin(), everyone.end(), 0);
  nodes_.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    HierarchicalCommunicator comm = make(rank);
    const auto control = nodes_.world(rank);
    EXPECT_STREQ(comm.backend(), "thread+thread");
    check_collectives(comm, *control, *stream, everyone, 20'000, 120, contributions);
  });
}

TEST_P(Hierarchies, VirtualRanksGetTheSameBits) {
  nodes_.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    HierarchicalCommunicator comm = make(rank);
    const auto virtual_world = nodes_.world(rank);
    for (WireFormat wire : kWireFormats) {
      for (std::size_t count : {1, 576, 4099}) {
        std::vector<float> mine = payload(rank, count, count);
        std::vector<float> expected = mine;
        comm.all_reduce(mine.data(), count, *stream, {"attn", 1}, wire);
        virtual_world->all_reduce(expected.data(), count, *stream, {"attn", 1}, wire);
        ASSERT_EQ(mine, expected) << count << " as " << name(wire);
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Splits, Hierarchies,
                         testing::Values(Case{{0, 0, 1, 1}, 1, 0}, Case{{0, 0, 1, 1}, 2, 0},
                                         Case{{0, 0, 1, 1}, 2, 2000}, Case{{0, 0, 0, 1}, 1, 0},
                                         Case{{0, 0, 0, 1, 1}, 2, 0}, Case{{0, 1, 0, 1, 0}, 2, 0},
                                         Case{{0, 1, 2}, 1, 0},
                                         Case{{0, 0, 0, 1, 1, 1, 2, 2, 2}, 3, 0}));

}  // namespace
}  // namespace spd
