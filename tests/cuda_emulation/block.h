// A block of CUDA threads, each on a fiber of its own, and who of them may go on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/cuda_emulation/device_language.h"
#include "tests/cuda_emulation/fiber.h"

namespace cuda_emulation {

inline constexpr int kWarpLanes = 32;
inline constexpr int kMostThreads = 1024;
inline constexpr std::size_t kStackBytes = 32 << 10;

class Block;
struct Operation;

enum class Waits : std::uint8_t { no, at_barrier, at_meeting, for_flag, ended };

struct Thread {
  Fiber fiber;
  Block* block = nullptr;
  uint3 index{};
  std::uint16_t number = 0, warp = 0, lane = 0;  ///< number: within the block
  Waits waits = Waits::no;
  bool dependency_waited = false;
  Place place{};  ///< where it waits
  // What it brought to a meeting, and what it got there.
  std::uint64_t value = 0, result = 0;
  int source = 0;
  const MmaFragments* fragments = nullptr;
  float* values = nullptr;
  // The last flag that it read, and what it saw: the same again means that it spins.
  const std::uint32_t* flag = nullptr;
  std::uint32_t seen = 0;
};

/// Lanes of a warp that gather. Meetings of separate masks may go on at a time.
struct Gathering {
  std::uint32_t mask = 0, arrived = 0;
  Meeting kind{};
  Place place{};
};

struct Warp {
  std::uint32_t alive = 0, ready = 0, spinning = 0;  ///< lanes
  std::uint32_t syncs = 0;                           ///< times that all its lanes met at __syncwarp
  Gathering gatherings[kWarpLanes];
};

/// A piece of a block's shared memory, found by the address of a key that each SPD_SHARED has.
struct SharedPiece {
  const void* key;
  std::size_t offset, bytes;
};

class Block {
 public:
  Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block();

  /// Makes ready block `number` of the operation's grid.
  void begin(Operation& operation, std::uint32_t number);
  /// Lets its threads run until all have ended or wait for something outside of the block.
  void run();
  bool ended() const { return alive_ == 0; }
  bool spins() const { return spins_; }
  /// How often something happened: a block that only reads flags makes no progress.
  std::uint64_t progress() const { return progress_; }
  /// "; 31 threads from 1 at __syncthreads, gemv.cu:12", for each place.
  std::string describe_waits() const;

  Operation& operation() const { return *operation_; }
  std::uint32_t number() const { return number_; }
  std::uint32_t epoch() const { return epoch_; }  ///< barriers passed
  const Warp& warp(int index) const { return warps_[index]; }
  std::size_t shared_slot() const { return shared_slot_; }

  // What the running thread asks for.
  void barrier(Place place);
  std::uint64_t meet(Meeting kind, std::uint32_t mask, std::uint64_t value, int source,
                     Place place);
  std::uint32_t acquire(const std::uint32_t* flag, Place place);
  void* shared(const void* key, std::size_t bytes, std::size_t align);
  void happened() { ++progress_; }

 private:
  static void thread_main();
  void end_thread(Thread& thread);
  void pass_barrier();
  void wait(Thread& thread, Waits why, Place place);
  void leave(Thread& thread);
  void set_ready(int warp, std::uint32_t lanes);
  void clear_ready(const Thread& thread);
  Thread* pick(int preferred_warp);
  void change(Thread* from, Thread* to);
  void conclude(Warp& warp, int warp_index, Gathering& gathering);
  void multiply_tiles(int warp_index);
  void sum_all_values(int warp_index);
  Thread* lanes_of(int warp_index) { return threads_.data() + warp_index * kWarpLanes; }
  std::string where(Place place) const;

  Operation* operation_ = nullptr;
  std::uint32_t number_ = 0, epoch_ = 0;
  uint3 index_{};
  int count_ = 0, alive_ = 0, arrived_ = 0;
  Place barrier_place_{};
  std::uint32_t ready_warps_ = 0;
  bool spins_ = false;
  std::uint64_t progress_ = 0;
  Warp warps_[kMostThreads / kWarpLanes];
  std::vector<Thread> threads_;
  Fiber outside_;
  char* stacks_ = nullptr;
  std::size_t shared_slot_ = 0, shared_used_ = 0;
  std::vector<SharedPiece> pieces_;
};

}  // namespace cuda_emulation
