// The algorithms of ShmCommunicator on threads that share a mapping; the same over processes is in
// mpi_program.cpp.
#include "comm/shm_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "comm/thread_communicator.h"
#include "kernels/device/cpu_device.h"
#include "tests/comm/collective_checks.h"

namespace spd {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

GroupSettings settings_for(int ranks, Communicator::Milliseconds deadline) {
  GroupSettings settings;
  settings.members.job_ranks.resize(ranks);
  std::iota(settings.members.job_ranks.begin(), settings.members.job_ranks.end(), 0);
  settings.deadline = deadline;
  return settings;
}

class ShmRanks : public testing::TestWithParam<int> {};

TEST_P(ShmRanks, CollectivesAreRightAndTheSameEverywhere) {
  const int ranks = GetParam();
  const std::shared_ptr<SharedMemory> memory =
      SharedMemory::anonymous(ShmCommunicator::bytes_needed(ranks));
  ThreadGroup group(ranks, 60s);
  group.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    const GroupSettings settings = settings_for(ranks, 60s);
    ShmCommunicator shm(memory, rank, settings);
    const auto control = group.world(rank);
    // Beyond one slot, so that segments are gone through more than once.
    check_collectives(shm, *control, *stream, settings.members.job_ranks, 300'000, 400);
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, ShmRanks, testing::Values(2, 3, 4, 5, 9));

TEST(ShmCommunicator, TimeoutNamesWhoIsWaitedForAndWhere) {
  const std::shared_ptr<SharedMemory> memory =
      SharedMemory::anonymous(ShmCommunicator::bytes_needed(3));
  ThreadGroup group(3, 60s);
  group.run([&](int rank) {
    if (rank == 1) return;
    CpuDevice device;
    const auto stream = device.make_stream();
    ShmCommunicator shm(memory, rank, settings_for(3, 300ms));
    std::vector<float> data(64);
    try {
      shm.all_reduce(data.data(), data.size(), *stream, {"mlp", 5});
      ADD_FAILURE() << "returned";
    } catch (const CommError& error) {
      EXPECT_EQ(error.code(), ErrorCode::timeout);
      EXPECT_EQ(error.missing(), std::vector<int>{1});
      EXPECT_THAT(error.what(),
                  HasSubstr("waits at all-reduce of 256 bytes, block 5 mlp for rank 1"));
    }
  });
}

TEST(ShmCommunicator, DifferentSizesAreAnErrorNotASum) {
  const std::shared_ptr<SharedMemory> memory =
      SharedMemory::anonymous(ShmCommunicator::bytes_needed(2));
  ThreadGroup group(2, 60s);
  group.run([&](int rank) {
    CpuDevice device;
    const auto stream = device.make_stream();
    ShmCommunicator shm(memory, rank, settings_for(2, 20s));
    std::vector<float> data(64);
    EXPECT_THROW(shm.all_reduce(data.data(), rank == 0 ? 64 : 63, *stream, {"mlp", 5}), CommError);
  });
}

}  // namespace
}  // namespace spd
