#include "kernels/cpu/read_bandwidth.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/gemv_kernels.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/work_split.h"
#include "kernels/device/cpu_device.h"

namespace spd {

namespace {

constexpr std::int64_t kLine = 64;

std::size_t default_bytes() {
  constexpr std::size_t kLeast = 256u << 20, kMost = 1024u << 20;
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return std::clamp(cache > 0 ? 8 * static_cast<std::size_t>(cache) : 0, kLeast, kMost);
}

}  // namespace

double measure_read_bandwidth(int threads, const std::vector<int>& cores, std::size_t bytes,
                              int passes) {
  if (bytes == 0) bytes = default_bytes();
  ThreadPool pool(threads, cores);
  CpuDevice device;
  const Buffer buffer(device, bytes);
  const auto part = [&](int thread) {
    return split_range(static_cast<std::int64_t>(bytes), kLine, thread, pool.size());
  };
  // Each thread touches its own part first, so that its pages come from its own node.
  pool.run([&](int thread) {
    const Range mine = part(thread);
    std::memset(buffer.as<std::byte>() + mine.begin, 1, mine.end - mine.begin);
  });
  std::vector<double> seconds;
  std::vector<std::uint64_t> sums(pool.size() * 8);  // a cache line each
  for (int i = 0; i < std::max(passes, 1); ++i) {
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](int thread) {
      const Range mine = part(thread);
      sums[thread * 8] = sum_words(buffer.as<std::byte>() + mine.begin, mine.end - mine.begin);
    });
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  return static_cast<double>(bytes) / seconds[seconds.size() / 2];
}

}  // namespace spd
