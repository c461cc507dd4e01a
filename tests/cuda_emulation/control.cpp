#include "tests/cuda_emulation/control.h"

#include <algorithm>
#include <mutex>

#include "tests/cuda_emulation/access.h"
#include "tests/cuda_emulation/call.h"
#include "tests/cuda_emulation/libraries.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/operation.h"
#include "tests/cuda_emulation/order.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/statistics.h"
#include "tests/cuda_emulation/streams.h"

namespace cuda_emulation {

namespace {

constexpr std::size_t kMostReports = 300;

struct Found {
  std::vector<std::string> reports;
  std::map<std::string, KernelStatistics> kernels;
  KernelStatistics* counted = nullptr;
};

Found& found() {
  static auto* const all = new Found;
  return *all;
}

}  // namespace

Options& options() {
  static auto* const chosen = new Options;
  return *chosen;
}

void report(const std::string& message) {
  auto& reports = found().reports;
  if (reports.size() >= kMostReports) return;
  if (std::find(reports.begin(), reports.end(), message) == reports.end()) {
    reports.push_back(message);
  }
}

std::vector<std::string> take_reports() { return std::exchange(found().reports, {}); }

void begin_counting(const Operation& op) {
  KernelStatistics& kernel = found().kernels[op.name];
  found().counted = &kernel;
}

void count_launch(const Operation& op) {
  KernelStatistics& kernel = found().kernels[op.name];
  const dim3 &grid = op.launch.grid, &block = op.launch.block;
  ++kernel.launches;
  kernel.threads += std::uint64_t{grid.x} * grid.y * grid.z * block.x * block.y * block.z;
}

void count_requested(bool write, std::size_t bytes) {
  (write ? found().counted->written_bytes : found().counted->read_bytes) += bytes;
}

void count_distinct(bool write, int bytes) {
  (write ? found().counted->distinct_written : found().counted->distinct_read) +=
      static_cast<std::uint64_t>(bytes);
}

std::map<std::string, KernelStatistics> take_statistics() {
  return std::exchange(found().kernels, {});
}

bool accesses_are_checked() { return accesses_checked(); }

void reset() {
  options() = {};
  guard_memory();
  found().reports.clear();
  found().kernels.clear();
  forget_failures();
  forget_loss();
  show_libraries();
  seed_order(options().seed);
}

}  // namespace cuda_emulation
