#include "runtime/job/machine_memory.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "kernels/device/error.h"

namespace spd {
namespace {

// Version 2 of control groups, and version 1. They hold "max" or a very large number for none.
constexpr const char* kLimits[] = {"/sys/fs/cgroup/memory.max",
                                   "/sys/fs/cgroup/memory/memory.limit_in_bytes"};

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

}  // namespace

double machine_memory() {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return std::numeric_limits<double>::infinity();
  double bytes = (static_cast<double>(info.totalram) + static_cast<double>(info.totalswap)) *
                 static_cast<double>(info.mem_unit);
  for (const char* file : kLimits) {
    double limit = 0.0;
    if (std::ifstream(file) >> limit) bytes = std::min(bytes, limit);
  }
  return bytes;
}

void check_memory(const RankContext& context, double bytes_per_rank, const std::string& what) {
  const int ranks = context.is_virtual ? context.ranks() : context.comms.node->size();
  const double needed = bytes_per_rank * ranks;
  const double there = machine_memory();
  if (needed <= there) return;
  throw Error(
      ErrorCode::system,
      fmt::format("{} take {:.1f} GiB on the {} here, which has {:.1f} GiB of memory", what,
                  needed / kGiB,
                  ranks > 1 ? fmt::format("node of the {} ranks", ranks) : std::string("node"),
                  there / kGiB),
      "use more nodes, a shorter context or a smaller batch, or check that config.json is of "
      "this model");
}

}  // namespace spd
