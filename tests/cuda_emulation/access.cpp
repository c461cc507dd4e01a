#include "tests/cuda_emulation/access.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <vector>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/operation.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/reserve.h"
#include "tests/cuda_emulation/shared_memory.h"
#include "tests/cuda_emulation/statistics.h"

namespace cuda_emulation {

namespace {

bool checked = false;

/// Who touched a word: which operation, and within a launch which thread, when.
struct Touch {
  std::uint32_t op = 0;      ///< its id; 0: nobody
  std::uint32_t thread = 0;  ///< block * kMostThreads + number; copies: 0
  std::uint16_t epoch = 0, sync = 0, releases = 0;
  std::uint8_t bits = 0;  ///< bytes of the last access
  std::uint8_t all = 0;   ///< bytes of all accesses of this operation
};

struct Cell {
  Touch write, read;
};

constexpr std::size_t kCells = kDeviceSpan * kMostDevices / 4;

Cell* cells() {
  static auto* const all = reserve<Cell>(kCells);
  return all;
}

/// Bytes of each word that belong to an allocation.
std::uint8_t* valid() {
  static auto* const bytes = reserve<std::uint8_t>(kCells);
  return bytes;
}

struct Known {
  const char* name = "";
  std::uint32_t stream = 0, sequence = 0;
};

std::vector<Known>& operations() {
  static auto* const all = new std::vector<Known>(1);
  return *all;
}

/// One access, by a thread or by an operation as a whole.
struct Access {
  Operation& op;
  const Thread* thread;
  Touch touch;
  bool write;
};

Access access_of(const Thread& thread, bool write) {
  const Block& block = *thread.block;
  Operation& op = block.operation();
  return {op,
          &thread,
          {op.id, block.number() * kMostThreads + thread.number,
           static_cast<std::uint16_t>(block.epoch()),
           static_cast<std::uint16_t>(block.warp(thread.warp).syncs),
           static_cast<std::uint16_t>(op.releases), 0, 0},
          write};
}

/// Within one launch: threads of a block are ordered by barriers, lanes of a warp also by
/// __syncwarp, blocks only by flags.
bool concurrent_within(const Access& now_at, const Touch& other) {
  const std::uint32_t own = now_at.touch.thread;
  if (own == other.thread) return false;
  if (own / kMostThreads != other.thread / kMostThreads) return now_at.op.releases == 0;
  if (now_at.touch.epoch != other.epoch) return false;
  const bool same_warp = own / kWarpLanes == other.thread / kWarpLanes;
  return !same_warp || now_at.touch.sync == other.sync;
}

bool concurrent(const Access& now_at, const Touch& other, std::uint8_t bits) {
  if (other.op == 0) return false;
  if (other.op == now_at.op.id) {
    return (other.bits & bits) != 0 && now_at.thread != nullptr && concurrent_within(now_at, other);
  }
  const Known& known = operations()[other.op];
  const bool early =
      now_at.thread && now_at.op.launch.programmatic && !now_at.thread->dependency_waited;
  const Clock& clock = early ? now_at.op.early_clock : now_at.op.clock;
  return time_of(known.sequence, other.releases) > at(clock, known.stream);
}

void report_conflict(const Access& now_at, const Touch& other, const char* did) {
  const char* const name = operations()[other.op].name;
  const char* const does = now_at.write ? "writes" : "reads";
  if (other.op == now_at.op.id) {
    report(fmt::format("{}: race in global memory: thread {} of block {} {} what another thread {}",
                       name, now_at.touch.thread % kMostThreads, now_at.touch.thread / kMostThreads,
                       does, did));
    return;
  }
  const bool early =
      now_at.thread && now_at.op.launch.programmatic && !now_at.thread->dependency_waited;
  report(fmt::format(
      "unordered: {} {} what {} {}, {}", now_at.op.name, does, name, did,
      early ? "before its dependency wait or without an event" : "no event or wait between"));
}

void touch(Touch& kept, const Access& now_at, std::uint8_t bits) {
  const std::uint8_t before = kept.op == now_at.op.id ? kept.all : 0;
  if (now_at.thread) {
    count_distinct(now_at.write, std::popcount(static_cast<std::uint8_t>(bits & ~before)));
  }
  kept = now_at.touch;
  kept.bits = bits;
  kept.all = before | bits;
}

/// False: out of bounds, nothing was noted.
bool check_word(const Access& now_at, std::size_t begin, std::size_t end) {
  if (end - begin / 4 * 4 > valid()[begin / 4]) return false;
  Cell& cell = cells()[begin / 4];
  const std::uint8_t bits = byte_bits(begin % 4, end - begin);
  if (concurrent(now_at, cell.write, bits)) report_conflict(now_at, cell.write, "wrote");
  if (now_at.write) {
    if (concurrent(now_at, cell.read, bits)) report_conflict(now_at, cell.read, "reads");
    touch(cell.write, now_at, bits);
    return true;
  }
  if (cell.write.op == 0) {
    report(fmt::format("{}: reads global memory that nobody wrote", now_at.op.name));
  }
  touch(cell.read, now_at, bits);
  return true;
}

void check_global(const Thread& thread, const void* address, std::size_t bytes, bool write,
                  const void* pc) {
  const Access now_at = access_of(thread, write);
  const std::size_t begin = device_offset(address);
  if (device_at(begin) != now_at.op.device) {
    report_access("memory of another device", bytes, write, pc);
  }
  count_requested(write, bytes);
  for (std::size_t o = begin; o < begin + bytes; o = (o / 4 + 1) * 4) {
    if (!check_word(now_at, o, std::min(begin + bytes, (o / 4 + 1) * 4))) {
      report_access("out of bounds, or its memory was freed", bytes, write, pc);
      return;
    }
  }
}

}  // namespace

bool accesses_checked() { return checked; }
void set_accesses_checked() { checked = true; }

void introduce(const Operation& op) {
  if (!checked) return;
  if (operations().size() <= op.id) operations().resize(op.id + 1);
  operations()[op.id] = {op.name, op.stream, op.sequence};
}

void open_global(const void* address, std::size_t bytes) {
  if (!checked) return;
  const std::size_t word = device_offset(address) / 4;
  std::memset(valid() + word, 4, bytes / 4);
  if (bytes % 4 != 0) valid()[word + bytes / 4] = static_cast<std::uint8_t>(bytes % 4);
  std::fill_n(cells() + word, (bytes + 3) / 4, Cell{});
}

void close_global(const void* address, std::size_t bytes) {
  if (checked) std::memset(valid() + device_offset(address) / 4, 0, (bytes + 3) / 4);
}

void note_access(const void* address, std::size_t bytes, bool write, const void* pc) {
  const Thread* const thread = now.thread;
  if (thread == nullptr) {
    if (is_device_memory(address)) {
      report(fmt::format("the host {} device memory", write ? "writes to" : "reads"));
    }
    return;
  }
  if (is_device_memory(address)) {
    check_global(*thread, address, bytes, write, pc);
  } else if (is_shared(address)) {
    check_shared(*thread, address, bytes, write, pc);
  }
}

void note_atomic(const void* address, std::size_t bytes) {
  if (!checked || !is_device_memory(address)) return;
  const std::size_t begin = device_offset(address);
  if (begin % 4 + bytes > valid()[begin / 4]) {
    report_access("out of bounds", bytes, true, nullptr);
  }
  cells()[begin / 4].write = {};
  cells()[begin / 4].write.op = now.thread->block->operation().id;
  cells()[begin / 4].write.thread = now.thread->block->number() * kMostThreads + now.thread->number;
}

void note_range(Operation& op, const void* address, std::size_t bytes, bool write) {
  if (!checked || !is_device_memory(address) || bytes == 0) return;
  const Access now_at{op, nullptr, {op.id, 0, 0, 0, 0, 0, 0}, write};
  const std::size_t begin = device_offset(address);
  for (std::size_t o = begin; o < begin + bytes; o = (o / 4 + 1) * 4) {
    if (!check_word(now_at, o, std::min(begin + bytes, (o / 4 + 1) * 4))) {
      report(fmt::format("{}: {} out of bounds", op.name, write ? "writes" : "reads"));
      return;
    }
  }
}

void report_access(const char* wrong, std::size_t bytes, bool write, const void* pc) {
  Dl_info info{};
  std::uintptr_t place = reinterpret_cast<std::uintptr_t>(pc);
  if (dladdr(pc, &info) != 0) place -= reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  const Thread& thread = *now.thread;
  report(fmt::format("{}: {} of {} bytes: {} (thread {} of block {}, pc {:#x})",
                     thread.block->operation().name, write ? "store" : "load", bytes, wrong,
                     thread.number, thread.block->number(), place));
}

int atomic_add(int* to, int value) {
  note_atomic(to, sizeof *to);
  const int before = *to;
  *to = before + value;
  return before;
}

unsigned atomic_add(unsigned* to, unsigned value) {
  note_atomic(to, sizeof *to);
  const unsigned before = *to;
  *to = before + value;
  return before;
}

float atomic_add(float* to, float value) {
  note_atomic(to, sizeof *to);
  const float before = *to;
  *to = before + value;
  return before;
}

// The words of flags are not touched through hooks: what is checked is what they order.
namespace {
std::map<const void*, Clock>& flag_clocks() {
  static auto* const clocks = new std::map<const void*, Clock>;
  return *clocks;
}
}  // namespace

std::uint32_t acquire(const std::uint32_t* flag, Place place) {
  Block& block = *now.thread->block;
  const std::uint32_t seen = block.acquire(flag, place);
  if (!checked) return seen;
  if (is_device_memory(flag) && !is_allocated(flag, sizeof *flag)) {
    report_access("flag out of bounds", sizeof *flag, false, nullptr);
  }
  if (const auto found = flag_clocks().find(flag); found != flag_clocks().end()) {
    join(block.operation().clock, found->second);
  }
  return seen;
}

void release(std::uint32_t* flag, std::uint32_t value) {
  Block& block = *now.thread->block;
  block.happened();
  if (checked) {
    if (is_device_memory(flag) && !is_allocated(flag, sizeof *flag)) {
      report_access("flag out of bounds", sizeof *flag, true, nullptr);
    }
    Operation& op = block.operation();
    advance(op.clock, op.stream, time_of(op.sequence, op.releases));
    flag_clocks()[flag] = op.clock;
    ++op.releases;
  }
  *static_cast<volatile std::uint32_t*>(flag) = value;
}

}  // namespace cuda_emulation
