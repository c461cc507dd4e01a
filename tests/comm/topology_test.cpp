#include "comm/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device/error.h"

namespace spd {
namespace {

using testing::ElementsAre;

struct Split {
  int ranks;
  int nodes;
  std::vector<int> per_node;
};

class TopologyTest : public testing::TestWithParam<Split> {};

TEST_P(TopologyTest, ContiguousGroupsAreNearEqualAndOrdered) {
  const auto& [ranks, nodes, per_node] = GetParam();
  const Topology topology = Topology::contiguous(ranks, nodes);
  EXPECT_EQ(topology.ranks(), ranks);
  EXPECT_EQ(topology.nodes(), nodes);
  EXPECT_EQ(topology.ranks_per_node(), per_node);
  EXPECT_TRUE(std::is_sorted(topology.node_of_rank.begin(), topology.node_of_rank.end()));
}

INSTANTIATE_TEST_SUITE_P(Splits, TopologyTest,
                         testing::Values(Split{1, 1, {1}}, Split{4, 2, {2, 2}}, Split{3, 2, {1, 2}},
                                         Split{9, 2, {4, 5}}, Split{5, 5, {1, 1, 1, 1, 1}},
                                         Split{7, 3, {2, 2, 3}}));

TEST(Topology, LocalRankCountsWithinTheNode) {
  const Topology topology{{0, 1, 0, 1, 1}, {"a", "b"}};
  EXPECT_THAT(topology.ranks_of_node(0), ElementsAre(0, 2));
  EXPECT_THAT(topology.ranks_of_node(1), ElementsAre(1, 3, 4));
  EXPECT_EQ(topology.local_rank(0), 0);
  EXPECT_EQ(topology.local_rank(2), 1);
  EXPECT_EQ(topology.local_rank(4), 2);
}

TEST(Topology, RefusesMoreNodesThanRanks) {
  EXPECT_THROW(Topology::contiguous(2, 3), Error);
  EXPECT_THROW(Topology::contiguous(0, 0), Error);
}

}  // namespace
}  // namespace spd
