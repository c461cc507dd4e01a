#include "tests/cuda_emulation/block.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <map>
#include <new>

#include "tests/cuda_emulation/operation.h"
#include "tests/cuda_emulation/order.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/shared_memory.h"

namespace cuda_emulation {

Now now{};

namespace {

constexpr std::uint64_t kCanary = 0x5af3107a4000c0de;
constexpr std::size_t kStackGap =
    4096;  // beyond the canary, so that who overwrites it harms nobody

std::uint64_t& canary(char* stacks, int thread) {
  return *reinterpret_cast<std::uint64_t*>(stacks + thread * kStackBytes + kStackGap);
}

// Tops lie apart, or the same line of every stack would fall into the same set of the cache.
std::size_t stagger(int thread) { return static_cast<std::size_t>(thread) * 192 % 4096; }

uint3 place_in(std::uint32_t number, dim3 shape) {
  return {number % shape.x, number / shape.x % shape.y, number / shape.x / shape.y};
}

}  // namespace

Block::Block() : shared_slot_(take_shared_slot()) {
  void* memory = mmap(nullptr, kStackBytes * kMostThreads, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stacks_ = static_cast<char*>(memory);
}

Block::~Block() {
  munmap(stacks_, kStackBytes * kMostThreads);
  give_shared_slot(shared_slot_);
}

void Block::begin(Operation& operation, std::uint32_t number) {
  const Launch& launch = operation.launch;
  operation_ = &operation;
  number_ = number;
  index_ = place_in(number, launch.grid);
  count_ = alive_ = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  arrived_ = 0;
  ready_warps_ = 0;
  ++epoch_;  // what the block before it did in this slot is no race
  clear_shared(shared_slot_, shared_used_);
  shared_used_ = 0;
  pieces_.clear();
  const int warps = (count_ + kWarpLanes - 1) / kWarpLanes;
  threads_.resize(static_cast<std::size_t>(warps) * kWarpLanes);
  for (int w = 0; w < warps; ++w) {
    Warp& warp = warps_[w];
    const int lanes = std::min(kWarpLanes, count_ - w * kWarpLanes);
    warp.alive = lanes == kWarpLanes ? ~0u : (1u << lanes) - 1;
    warp.ready = warp.spinning = 0;
    for (Gathering& gathering : warp.gatherings) gathering.arrived = 0;
    set_ready(w, warp.alive);
  }
  for (int i = 0; i < count_; ++i) {
    Thread& thread = threads_[i];
    thread.block = this;
    thread.number = static_cast<std::uint16_t>(i);
    thread.warp = static_cast<std::uint16_t>(i / kWarpLanes);
    thread.lane = static_cast<std::uint16_t>(i % kWarpLanes);
    thread.index = place_in(static_cast<std::uint32_t>(i), launch.block);
    thread.waits = Waits::no;
    thread.dependency_waited = false;
    thread.flag = nullptr;
    canary(stacks_, i) = kCanary;
    thread.fiber.prepare(stacks_ + i * kStackBytes, kStackBytes - stagger(i), &thread_main);
  }
}

void Block::run() {
  now.block_index = index_;
  now.block_dim = operation_->launch.block;
  now.grid_dim = operation_->launch.grid;
  spins_ = false;
  for (int w = 0; w * kWarpLanes < count_; ++w) {
    set_ready(w, warps_[w].spinning);
    warps_[w].spinning = 0;
  }
  if (Thread* first = pick(-1)) change(nullptr, first);
  for (int w = 0; w * kWarpLanes < count_; ++w) spins_ = spins_ || warps_[w].spinning != 0;
}

void Block::thread_main() {
  Thread& thread = *now.thread;
  Block& block = *thread.block;
  block.operation_->launch.body();
  block.end_thread(thread);
  // Never comes back: begin() prepares the fiber anew.
  block.change(&thread, block.pick(thread.warp));
  std::abort();
}

void Block::end_thread(Thread& thread) {
  if (canary(stacks_, thread.number) != kCanary) {
    report(fmt::format("{}: thread {} used more than {} bytes of stack", operation_->name,
                       thread.number, kStackBytes - kStackGap));
  }
  thread.waits = Waits::ended;
  clear_ready(thread);
  warps_[thread.warp].alive &= ~(1u << thread.lane);
  --alive_;
  ++progress_;
  if (arrived_ > 0 && arrived_ == alive_) {
    report(fmt::format("{}: a thread has ended while others wait at __syncthreads",
                       where(barrier_place_)));
    pass_barrier();
  }
}

void Block::barrier(Place place) {
  Thread& thread = *now.thread;
  if (arrived_ == 0) {
    barrier_place_ = place;
  } else if (barrier_place_.line != place.line) {
    report(fmt::format("{}: thread {} is at this __syncthreads, others at line {}", where(place),
                       thread.number, barrier_place_.line));
  }
  ++arrived_;
  if (arrived_ < alive_) {
    wait(thread, Waits::at_barrier, place);
    return;
  }
  if (alive_ != count_) {
    report(fmt::format("{}: __syncthreads without the {} threads that have ended", where(place),
                       count_ - alive_));
  }
  pass_barrier();
  // The order of threads begins anew.
  if (Thread* first = pick(-1); first != &thread) change(&thread, first);
}

void Block::pass_barrier() {
  arrived_ = 0;
  ++epoch_;
  ++progress_;
  for (Thread& thread : threads_) {
    if (thread.block != this || thread.waits != Waits::at_barrier) continue;
    thread.waits = Waits::no;
    set_ready(thread.warp, 1u << thread.lane);
  }
}

std::uint32_t Block::acquire(const std::uint32_t* flag, Place place) {
  Thread& thread = *now.thread;
  const auto load = [&] { return *static_cast<const volatile std::uint32_t*>(flag); };
  if (thread.flag == flag && thread.seen == load()) {
    // It has seen this before: others first, it may be what they are to write.
    warps_[thread.warp].spinning |= 1u << thread.lane;
    wait(thread, Waits::for_flag, place);
    thread.waits = Waits::no;
  }
  if (thread.flag != flag || thread.seen != load()) ++progress_;
  thread.flag = flag;
  thread.seen = load();
  return thread.seen;
}

void* Block::shared(const void* key, std::size_t bytes, std::size_t align) {
  unsigned char* const memory = shared_memory(shared_slot_);
  for (const SharedPiece& piece : pieces_) {
    if (piece.key == key) return memory + piece.offset;
  }
  const std::size_t offset = (shared_used_ + align - 1) / align * align;
  shared_used_ = offset + bytes + kSharedGap;
  if (shared_used_ > kSharedBytes) {
    report(fmt::format("{}: more than {} bytes of shared memory", operation_->name, kSharedBytes));
    std::abort();
  }
  pieces_.push_back({key, offset, bytes});
  open_shared(shared_slot_, offset, bytes);
  return memory + offset;
}

void Block::wait(Thread& thread, Waits why, Place place) {
  thread.waits = why;
  thread.place = place;
  clear_ready(thread);
  leave(thread);
}

void Block::leave(Thread& thread) { change(&thread, pick(thread.warp)); }

void Block::change(Thread* from, Thread* to) {
  if (to != nullptr) {
    now.thread = to;
    now.thread_index = to->index;
    now.lane = to->lane;
  } else {
    now.thread = nullptr;
  }
  Fiber::change(from ? from->fiber : outside_, to ? to->fiber : outside_);
}

void Block::set_ready(int warp, std::uint32_t lanes) {
  if (lanes == 0) return;
  warps_[warp].ready |= lanes;
  ready_warps_ |= 1u << warp;
}

void Block::clear_ready(const Thread& thread) {
  Warp& warp = warps_[thread.warp];
  warp.ready &= ~(1u << thread.lane);
  if (warp.ready == 0) ready_warps_ &= ~(1u << thread.warp);
}

Thread* Block::pick(int preferred_warp) {
  int warp = preferred_warp;
  if (warp < 0 || warps_[warp].ready == 0) {
    if (ready_warps_ == 0) return nullptr;
    warp = pick_bit(ready_warps_);
  }
  return lanes_of(warp) + pick_bit(warps_[warp].ready);
}

std::string Block::where(Place place) const {
  const std::string_view file = place.file;
  return fmt::format("{} at {}:{}", operation_->name, file.substr(file.rfind('/') + 1), place.line);
}

std::string Block::describe_waits() const {
  std::map<std::string, std::vector<int>> by_place;
  for (int i = 0; i < count_; ++i) {
    const Thread& thread = threads_[i];
    if (thread.waits == Waits::ended) continue;
    const char* what = thread.waits == Waits::at_barrier   ? "__syncthreads"
                       : thread.waits == Waits::at_meeting ? "a warp's meeting"
                                                           : "a flag";
    by_place[fmt::format("{}, {}", what, where(thread.place))].push_back(i);
  }
  std::string text;
  for (const auto& [place, who] : by_place) {
    text += fmt::format("; {} thread(s) from {} on wait at {}", who.size(), who.front(), place);
  }
  return text;
}

void barrier(Place place) { now.thread->block->barrier(place); }

void dependency_wait() {
  now.thread->dependency_waited = true;
  now.thread->block->operation().waited = true;
}

void* shared_array(const void* key, std::size_t bytes, std::size_t align) {
  return now.thread->block->shared(key, bytes, align);
}

void* dynamic_shared() {
  static const char key = 0;
  Block& block = *now.thread->block;
  return block.shared(&key, block.operation().launch.shared, 16);
}

}  // namespace cuda_emulation
