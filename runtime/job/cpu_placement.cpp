#include "runtime/job/cpu_placement.h"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <memory>
#include <thread>

#include "kernels/device/cpu_device.h"
#include "model/partition.h"

namespace spd {

std::vector<int> allowed_cores() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return {0};
  const std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)> topology(
      raw, hwloc_topology_destroy);
  if (hwloc_topology_load(raw) != 0) return {0};
  const std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)> bound(hwloc_bitmap_alloc(),
                                                                            hwloc_bitmap_free);
  if (hwloc_get_cpubind(raw, bound.get(), HWLOC_CPUBIND_PROCESS) != 0) return {0};
  std::vector<int> cores;
  const int count = hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_CORE);
  for (int i = 0; i < count; ++i) {
    const hwloc_obj_t core = hwloc_get_obj_by_type(raw, HWLOC_OBJ_CORE, i);
    for (int pu = hwloc_bitmap_first(core->cpuset); pu >= 0;
         pu = hwloc_bitmap_next(core->cpuset, pu)) {
      if (!hwloc_bitmap_isset(bound.get(), pu)) continue;
      cores.push_back(pu);
      break;
    }
  }
  return cores.empty() ? std::vector<int>{0} : cores;
}

int allowed_processors() {
  cpu_set_t mine{};
  return ::sched_getaffinity(0, sizeof mine, &mine) == 0
             ? CPU_COUNT(&mine)
             : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

CpuOptions place_rank(const RankComms& comms, int threads, bool pin) {
  using Mask = std::array<std::uint64_t, 64>;
  std::vector<int> cores = allowed_cores();
  Mask mine{};
  for (const int core : cores) {
    if (core < static_cast<int>(mine.size() * 64)) mine[core / 64] |= 1ull << (core % 64);
  }
  const int local_ranks = comms.node->size();
  std::vector<Mask> all(local_ranks);
  CpuDevice device;
  const auto stream = device.make_stream();
  comms.node->all_gather(&mine, all.data(), sizeof(Mask), *stream, {"placement"});
  const bool shared = std::all_of(all.begin(), all.end(), [&](const Mask& m) { return m == mine; });
  bool enough = true;
  if (shared && local_ranks > 1) {
    const VocabRange slice =
        even_share(static_cast<std::int64_t>(cores.size()), local_ranks, comms.node->rank());
    enough = slice.count > 0;
    if (enough) {
      cores = {cores.begin() + slice.first, cores.begin() + slice.first + slice.count};
    }
  }
  CpuOptions options;
  options.threads = threads > 0 ? threads : (enough ? static_cast<int>(cores.size()) : 1);
  if (pin && enough && options.threads <= static_cast<int>(cores.size())) {
    options.cores = {cores.begin(), cores.begin() + options.threads};
  }
  return options;
}

}  // namespace spd
