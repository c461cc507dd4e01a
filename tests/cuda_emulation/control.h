// What a test may ask of the emulated CUDA, and what it is told.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace cuda_emulation {

/// In which order threads of a warp, warps of a block and blocks of a grid go on: all are legal.
enum class Order : std::uint8_t { up, down, random };

struct Options {
  Order order = Order::up;
  /// The stream with the smallest number is tried first, by index of creation; empty: oldest work
  /// first. Beyond the list: last.
  std::vector<int> stream_order = {};
  bool random_streams = false;
  unsigned seed = 1;
  int devices = 1;
  std::size_t memory = std::size_t{8} << 30;  ///< bytes of each device, at most kDeviceSpan
  int multiprocessors = 4;
  int resident_blocks = 64;  ///< blocks of one grid that may wait for a flag side by side
  int patience_ms = 2000;    ///< how long a host thread waits for others when nothing can go on
  int driver = 13000;        ///< 0: there is no driver
  /// Host code that touches device memory ends the program, saying so. Costs a system call at each
  /// wait, which takes 0.1 ms for each MiB that is allocated.
  bool guarded = false;
};

/// May be changed while no work is under way.
Options& options();

/// What was found wrong since the last call, each kind once.
std::vector<std::string> take_reports();

/// The `nth` call from now (1: the next) of this function gives `error` and does nothing. `lost`:
/// so does every call after it, of any function, until reset().
void fail_call(const std::string& function, int nth, cudaError_t error, bool lost = false);

struct KernelStatistics {
  std::uint64_t launches = 0, threads = 0;
  // Global memory, only where accesses are checked.
  std::uint64_t read_bytes = 0, written_bytes = 0;        ///< asked for
  std::uint64_t distinct_read = 0, distinct_written = 0;  ///< each byte once a launch
};

/// By name of the kernel, since the last call.
std::map<std::string, KernelStatistics> take_statistics();

/// Whether the kernels were compiled with access hooks.
bool accesses_are_checked();

/// Forgets reports, injected errors, a lost device, statistics and the default options. Memory and
/// streams stay.
void reset();

}  // namespace cuda_emulation
