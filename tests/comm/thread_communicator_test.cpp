#include "comm/thread_communicator.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <random>
#include <thread>

#include "kernels/device/cpu_device.h"
#include "tests/comm/payload.h"

namespace spd {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

std::vector<int> first_ranks(int n) {
  std::vector<int> ranks(n);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

/// Every rank all-reduces its payload at an odd offset; returns each rank's whole buffer.
std::vector<std::vector<float>> all_reduce_once(ThreadGroup& group, std::size_t count,
                                                std::uint64_t round) {
  constexpr std::size_t kBefore = 3;
  std::vector<std::vector<float>> results(group.topology().ranks());
  group.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto world = group.world(rank);
    std::vector<float> data = payload(rank, round, count);
    data.insert(data.begin(), kBefore, 7.0f);
    data.push_back(9.0f);
    world->all_reduce(data.data() + kBefore, count, *stream, {"attn", 1});
    EXPECT_EQ(data[kBefore - 1], 7.0f);
    EXPECT_EQ(data.back(), 9.0f);
    results[rank] = {data.begin() + kBefore, data.end() - 1};
  });
  return results;
}

class ThreadRanks : public testing::TestWithParam<int> {};

TEST_P(ThreadRanks, AllReduceIsTheSumInRankOrderOnEveryRank) {
  const int ranks = GetParam();
  ThreadGroup group(ranks, 20s);
  for (std::size_t count : {1, 2, 3, 31, 576, 1001, 16384, 16385, 100'003, 1 << 20}) {
    // The order is part of the promise, so the plain sum in rank order must be met to the bit.
    std::vector<float> sum = payload(0, count, count);
    for (int rank = 1; rank < ranks; ++rank) {
      const std::vector<float> more = payload(rank, count, count);
      for (std::size_t i = 0; i < count; ++i) sum[i] += more[i];
    }
    for (const auto& result : all_reduce_once(group, count, count)) {
      ASSERT_TRUE(result == sum) << count << " elements";
    }
  }
}

TEST_P(ThreadRanks, ManyRandomRoundsOfAllCollectives) {
  const int ranks = GetParam();
  constexpr int kRounds = 400;
  ThreadGroup group(ranks, 20s);
  group.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto world = group.world(rank);
    std::mt19937 same(42);  // the same draws on every rank
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      const std::size_t count = round % 50 == 0 ? 20'000 + same() % 9 : 1 + same() % 700;
      std::vector<float> data = payload(rank, round, count);
      switch (same() % 4) {
        case 0: {
          world->all_reduce(data.data(), count, *stream, {"mlp", 0});
          ASSERT_EQ(first_wrong(data.data(), expected_sum(first_ranks(ranks), round, count)), -1);
          break;
        }
        case 1: {
          std::vector<float> all(count * ranks);
          const bool in_place = round % 2 == 0;
          float* slot = all.data() + count * rank;
          if (in_place) std::copy(data.begin(), data.end(), slot);
          world->all_gather(in_place ? slot : data.data(), all.data(), count * sizeof(float),
                            *stream, {"logits"});
          for (int r = 0; r < ranks; ++r) {
            const std::vector<float> theirs = payload(r, round, count);
            ASSERT_TRUE(std::equal(theirs.begin(), theirs.end(), all.begin() + count * r));
          }
          break;
        }
        case 2: {
          const int root = static_cast<int>(same() % ranks);
          world->broadcast(data.data(), count * sizeof(float), root, *stream, {"start"});
          ASSERT_TRUE(data == payload(root, round, count));
          break;
        }
        default:
          world->barrier({"start"});
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadRanks, testing::Values(1, 2, 3, 4, 5, 7, 9));

TEST(ThreadCommunicator, BarrierHoldsEverybodyUntilTheLast) {
  constexpr int kRanks = 5;
  ThreadGroup group(kRanks, 20s);
  std::atomic<int> before{0};
  group.run([&](int rank) {
    const auto world = group.world(rank);
    for (int round = 1; round <= 50; ++round) {
      ++before;
      world->barrier({"start"});
      EXPECT_GE(before.load(), round * kRanks);
      world->barrier({"start"});
    }
  });
}

struct Nodes {
  std::vector<int> node_of_rank;
  int nodes;
};

class ThreadNodes : public testing::TestWithParam<Nodes> {};

TEST_P(ThreadNodes, NodeGroupsReduceAmongThemselves) {
  Topology topology{GetParam().node_of_rank, {}};
  for (int node = 0; node < GetParam().nodes; ++node) {
    topology.node_names.push_back(fmt::format("n{}", node));
  }
  ThreadGroup group(topology, 20s);
  group.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto world = group.world(rank);
    const auto node = group.node(rank);
    const auto mates = topology.ranks_of_node(topology.node_of(rank));
    EXPECT_EQ(node->size(), static_cast<int>(mates.size()));
    EXPECT_EQ(node->rank(), topology.local_rank(rank));
    for (std::uint64_t round = 0; round < 30; ++round) {
      std::vector<float> data = payload(rank, round, 577);
      node->all_reduce(data.data(), data.size(), *stream, {"attn", 2});
      ASSERT_EQ(first_wrong(data.data(), expected_sum(mates, round, 577)), -1);
      data = payload(rank, round, 577);
      world->all_reduce(data.data(), data.size(), *stream, {"mlp", 2});
      ASSERT_EQ(first_wrong(data.data(), expected_sum(first_ranks(topology.ranks()), round, 577)),
                -1);
    }
  });
}

TEST_P(ThreadNodes, SumsAreThoseOfAHierarchicalRunInEveryWireFormat) {
  Topology topology{GetParam().node_of_rank, {}};
  std::vector<std::vector<int>> nodes;
  for (int node = 0; node < GetParam().nodes; ++node) {
    topology.node_names.push_back(fmt::format("n{}", node));
    nodes.push_back(topology.ranks_of_node(node));
  }
  ThreadGroup group(topology, 20s);
  group.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto world = group.world(rank);
    for (WireFormat wire : kWireFormats) {
      for (std::size_t count : {1, 31, 576, 2049, 40'003}) {
        std::vector<float> data = payload(rank, count, count);
        world->all_reduce(data.data(), count, *stream, {"attn", 2}, wire);
        ASSERT_EQ(data, encoded_sum(nodes, count, count, wire)) << count << " as " << name(wire);
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Splits, ThreadNodes,
                         testing::Values(Nodes{{0, 0, 1, 1}, 2}, Nodes{{0, 0, 0, 1}, 2},
                                         Nodes{{0, 1, 0, 1, 0}, 2}, Nodes{{0, 1, 2}, 3}));

/// The message of the CommError that body throws; counts reporters.
template <class Body>
std::string comm_error_of(std::atomic<int>& reporters, std::vector<int>* missing, Body body) {
  try {
    body();
  } catch (const CommError& error) {
    if (error.reporter()) ++reporters;
    if (missing) *missing = error.missing();
    return error.what();
  }
  return "no error";
}

TEST(ThreadCommunicator, TimeoutNamesMissingRanksCollectiveSizeAndSite) {
  ThreadGroup group(Topology::contiguous(4, 2), 300ms);
  std::atomic<int> reporters{0};
  std::vector<std::string> messages(4);
  std::vector<std::vector<int>> missing(4);
  group.run([&](int rank) {
    if (rank == 2) return;
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto world = group.world(rank);
    std::vector<float> data(576);
    const auto begin = std::chrono::steady_clock::now();
    messages[rank] = comm_error_of(reporters, &missing[rank], [&] {
      world->all_reduce(data.data(), data.size(), *stream, {"attn", 7});
    });
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
    // A broken group stays broken, at once.
    EXPECT_THROW(world->barrier({"start"}), CommError);
  });
  for (int rank : {0, 1, 3}) {
    EXPECT_THAT(messages[rank],
                HasSubstr("rank 2 (host node1) did not arrive at all-reduce of 2304 bytes, "
                          "block 7 attn, within 0.3 s; ranks 0,1,3 did"));
    EXPECT_EQ(missing[rank], std::vector<int>{2});
  }
  EXPECT_EQ(reporters, 1);
}

TEST(ThreadCommunicator, FailWakesPeersOfEveryGroupWithTheFirstMessage) {
  // Ranks 0 and 1 wait in the world, 3 in its node: rank 2 of node 1 throws.
  ThreadGroup group(Topology::contiguous(4, 2), 60s);
  std::vector<std::string> messages(4);
  const auto begin = std::chrono::steady_clock::now();
  try {
    group.run([&](int rank) {
      if (rank == 2) {
        std::this_thread::sleep_for(50ms);
        throw Error(ErrorCode::input, "block 3 has a broken weight");
      }
      const auto comm = rank == 3 ? group.node(rank) : group.world(rank);
      try {
        comm->barrier({"start"});
      } catch (const CommError& error) {
        messages[rank] = error.what();
        EXPECT_EQ(error.code(), ErrorCode::comm);
        EXPECT_EQ(error.missing(), std::vector<int>{2});
        EXPECT_FALSE(error.reporter());
        throw;
      }
    });
    ADD_FAILURE() << "run() returned";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    EXPECT_THAT(error.what(), HasSubstr("broken weight"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);  // not the deadline
  for (int rank : {0, 1, 3}) {
    EXPECT_THAT(messages[rank], HasSubstr("rank 2 failed: block 3 has a broken weight"));
  }
}

TEST(ThreadCommunicator, RanksThatDisagreeAreToldApart) {
  ThreadGroup group(2, 60s);
  std::atomic<int> reporters{0};
  std::vector<std::string> messages(2);
  group.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto world = group.world(rank);
    std::vector<float> data(8);
    messages[rank] = comm_error_of(reporters, nullptr, [&] {
      world->all_reduce(data.data(), rank == 0 ? 4 : 8, *stream, {"mlp", rank});
    });
  });
  for (const auto& message : messages) {
    EXPECT_THAT(message, HasSubstr("rank 0 calls all-reduce of 16 bytes, block 0 mlp"));
    EXPECT_THAT(message, HasSubstr("rank 1 calls all-reduce of 32 bytes, block 1 mlp"));
    EXPECT_THAT(message, Not(HasSubstr("did not arrive")));
  }
  EXPECT_EQ(reporters, 1);
}

TEST(ThreadCommunicator, DifferentWireFormatsAreADisagreement) {
  ThreadGroup group(2, 60s);
  std::atomic<int> reporters{0};
  std::vector<std::string> messages(2);
  group.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto world = group.world(rank);
    std::vector<float> data(8);
    messages[rank] = comm_error_of(reporters, nullptr, [&] {
      world->all_reduce(data.data(), 8, *stream, {"mlp", 3},
                        rank == 0 ? WireFormat::f32 : WireFormat::int8);
    });
  });
  for (const auto& message : messages) {
    EXPECT_THAT(message, HasSubstr("rank 0 calls all-reduce of 32 bytes, block 3 mlp"));
    EXPECT_THAT(message, HasSubstr("rank 1 calls all-reduce of 32 bytes as int8, block 3 mlp"));
  }
}

TEST(ThreadCommunicator, CountsWhatItDid) {
  ThreadGroup group(2, 20s);
  group.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto world = group.world(rank);
    std::vector<float> data(10);
    world->all_reduce(data.data(), 10, *stream, {"mlp"});
    world->all_reduce(data.data(), 3, *stream, {"mlp"});
    EXPECT_EQ(world->stats().all_reduces, 2u);
    EXPECT_EQ(world->stats().bytes, 52u);
    EXPECT_GT(world->stats().seconds, 0.0);
    EXPECT_STREQ(world->backend(), "thread");
  });
}

}  // namespace
}  // namespace spd
