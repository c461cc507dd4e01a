#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>

#include "kernels/device/error.h"

namespace spd {
namespace {

TEST(ThreadPool, EveryThreadRunsEveryTaskOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads, {});
    ASSERT_EQ(pool.size(), threads);
    std::vector<int> runs(threads, 0);
    for (int task = 1; task <= 2000; ++task) {
      pool.run([&](int thread) { ++runs[thread]; });
      for (int i = 0; i < threads; ++i) ASSERT_EQ(runs[i], task) << "thread " << i;
    }
  }
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  ThreadPool pool(3, {});
  std::atomic<int> runs{0};
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // far longer than workers spin
    pool.run([&](int) { ++runs; });
  }
  EXPECT_EQ(runs, 9);
}

TEST(ThreadPool, BarrierSeparatesPhases) {
  ThreadPool pool(4, {});
  for (int round = 0; round < 200; ++round) {
    std::vector<int> first(4, 0);
    std::atomic<int> wrong{0};
    pool.run([&](int thread) {
      for (int phase = 1; phase <= 5; ++phase) {
        first[thread] = phase;
        pool.barrier();
        for (const int seen : first) wrong += seen != phase;
        pool.barrier();
      }
    });
    ASSERT_EQ(wrong, 0);
  }
}

TEST(ThreadPool, SeveralPoolsSideBySide) {
  std::vector<std::thread> ranks;
  std::atomic<int> runs{0};
  for (int rank = 0; rank < 4; ++rank) {
    ranks.emplace_back([&] {
      ThreadPool pool(2, {});
      for (int i = 0; i < 300; ++i) pool.run([&](int) { ++runs; });
    });
  }
  for (std::thread& rank : ranks) rank.join();
  EXPECT_EQ(runs, 4 * 300 * 2);
}

TEST(ThreadPool, RefusesBadOptions) {
  EXPECT_THROW(ThreadPool(0, {}), Error);
  EXPECT_THROW(ThreadPool(2, {0}), Error);
  EXPECT_THROW(ThreadPool(1, {100000}), Error);
  EXPECT_THROW(ThreadPool(1, {-1}), Error);
}

}  // namespace
}  // namespace spd
