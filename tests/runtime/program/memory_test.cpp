// What a rank keeps in memory: its shard, its KV cache and little else.
#include <atomic>

#include "tests/runtime/program/program_run.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

/// The most that the process has had in memory at once (VmHWM), in bytes; 0 once it is gone.
std::int64_t peak_bytes(pid_t process) {
  std::ifstream status(fmt::format("/proc/{}/status", process));
  for (std::string word; status >> word;) {
    std::int64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

class Memory : public testing::TestWithParam<int> {};

TEST_P(Memory, OfARankIsItsShardAndLittleElse) {
  const int ranks = GetParam();
  const auto weights = trained_model() / "model.safetensors";
  if (!std::filesystem::exists(weights)) {
    GTEST_SKIP() << weights << " is not there: run scripts/fetch-model.py";
  }
  ProgramRun run(ranks, {"generate", "-m", trained_model(), "--prompt", "Gravity is", "-n", "64"});
  std::vector<std::int64_t> peaks(ranks, 0);
  std::atomic<bool> done = false;
  std::thread watcher([&] {
    while (!done) {
      for (int rank = 0; rank < ranks; ++rank) {
        if (const pid_t process = run.process_of(rank); process > 0) {
          peaks[rank] = std::max(peaks[rank], peak_bytes(process));
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  const Outcome outcome = run();
  done = true;
  watcher.join();
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto shard = static_cast<std::int64_t>(std::filesystem::file_size(weights)) / ranks;
  // 30 blocks, keys and values of 3 heads of 64 numbers, for a few more positions than are used.
  const std::int64_t cache = 30L * 2 * 3 * 64 * 128 * sizeof(float);
  for (int rank = 0; rank < ranks; ++rank) {
    EXPECT_GT(peaks[rank], shard) << "rank " << rank << " was not seen with its weights loaded";
    EXPECT_LE(peaks[rank], shard + cache + 150'000'000) << "rank " << rank;
  }
}

// 1 and 3 ranks split this model's heads evenly, so that every shard has the same size.
INSTANTIATE_TEST_SUITE_P(All, Memory, testing::Values(1, 3));

}  // namespace
}  // namespace spd
