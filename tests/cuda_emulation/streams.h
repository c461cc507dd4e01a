// Streams as deferred queues: nothing runs until somebody waits, and then in any order that the
// streams and events allow.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/operation.h"

namespace cuda_emulation {

struct Capture;

/// The blocks of a kernel that runs.
class Grid {
 public:
  explicit Grid(Operation& operation) : operation_(operation) {}
  ~Grid();
  Grid(const Grid&) = delete;
  Grid& operator=(const Grid&) = delete;
  /// Runs each resident block until it ends or waits for a flag. Whether anything happened.
  /// `stuck` is set to a description of threads that wait for each other.
  bool run(std::string& stuck);
  bool done() const { return resident_.empty() && started_ == total(); }
  std::string describe_waits() const;

 private:
  std::uint32_t total() const {
    const dim3& grid = operation_.launch.grid;
    return grid.x * grid.y * grid.z;
  }
  void start_block();
  Operation& operation_;
  std::uint32_t started_ = 0;
  std::vector<std::unique_ptr<Block>> resident_;
};

struct Stream {
  std::uint32_t index = 0;
  int device = 0;
  std::deque<std::unique_ptr<Operation>> queue;  ///< the first may be under way
  std::unique_ptr<Grid> grid;                    ///< of the first, if it is a kernel that runs
  std::uint32_t sequence = 0;
  Clock clock;        ///< what its past operations have seen and done
  Clock early_clock;  ///< what a programmatic launch that comes next can rely on at its start
  Capture* capture = nullptr;
};

/// Every call of the API holds it. Kernels run under it, too: one at a time.
std::mutex& everything();

Stream& make_stream(int device);
void destroy_stream(Stream& stream);
/// The stream behind a handle, null for the default stream and for what is none.
Stream* stream_of(cudaStream_t handle);
cudaStream_t handle_of(Stream& stream);

/// Puts it at the end of the stream's queue.
void put(Stream& stream, Operation op);
/// Works until `until` holds; gives way to other host threads where only they can help. Afterwards
/// the caller has seen what was done. An error: the device is lost.
cudaError_t work(std::unique_lock<std::mutex>& lock, const std::function<bool()>& until);
/// One piece of work, if there is any.
void work_once();
inline bool idle(const Stream& stream) { return stream.queue.empty(); }
/// All streams of the device, or of all devices where it is negative.
bool all_idle(int device);
/// What the host has waited for.
void host_has_seen(const Clock& clock);
void host_has_seen_all(int device);

/// Set once something cannot be mended: every call gives it, until reset().
cudaError_t lost_error();
void lose_device(cudaError_t error);
void forget_loss();

}  // namespace cuda_emulation
