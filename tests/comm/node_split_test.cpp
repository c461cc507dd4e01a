#include "comm/node_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spd {
namespace {

using testing::ElementsAre;
using Leaders = std::vector<int>;
using Domains = std::vector<std::uint64_t>;

TEST(NodeSplit, WhatMpiSaysStandsWhereDomainsAgree) {
  EXPECT_THAT(join_nodes(Leaders{0, 0, 2, 2}, Domains{7, 7, 9, 9}), ElementsAre(0, 0, 2, 2));
  EXPECT_THAT(join_nodes(Leaders{0, 1, 0, 1}, Domains{7, 9, 7, 9}), ElementsAre(0, 1, 0, 1));
}

// As Open MPI 4.1.6 on PMIx 5.0.1 tells of 2 x 2 ranks.
TEST(NodeSplit, ATornNodeIsJoined) {
  EXPECT_THAT(join_nodes(Leaders{0, 1, 2, 2}, Domains{7, 7, 9, 9}), ElementsAre(0, 0, 2, 2));
  EXPECT_THAT(join_nodes(Leaders{0, 1, 2, 3, 4, 4}, Domains{7, 9, 7, 9, 7, 7}),
              ElementsAre(0, 1, 0, 1, 0, 0));
}

TEST(NodeSplit, UnknownDomainsJoinNobody) {
  EXPECT_THAT(join_nodes(Leaders{0, 1, 2, 2}, Domains{0, 0, 0, 0}), ElementsAre(0, 1, 2, 2));
}

TEST(NodeSplit, RanksOfOneNodeByMpiStayTogether) {
  // Containers with a /dev/shm each: MPI knows better how they meet.
  EXPECT_THAT(join_nodes(Leaders{0, 0, 0}, Domains{7, 8, 9}), ElementsAre(0, 0, 0));
  // 0 and 1 by MPI, 1 and 2 by their memory.
  EXPECT_THAT(join_nodes(Leaders{0, 0, 2}, Domains{7, 8, 8}), ElementsAre(0, 0, 0));
}

TEST(NodeSplit, ThisProcessHasADomainThatStays) {
  EXPECT_NE(memory_domain(), 0u);
  EXPECT_EQ(memory_domain(), memory_domain());
}

}  // namespace
}  // namespace spd
