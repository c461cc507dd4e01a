// The product of activations with a weight, split over the threads of a rank.
#pragma once

#include <vector>

#include "kernels/cpu/scratch.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/operators.h"

namespace spd {

/// Threads take slices of the outputs. Few tokens: each streams its part of the weight once.
class CpuLinear {
 public:
  explicit CpuLinear(ThreadPool& pool) : pool_(pool), scratch_(pool.size()) {}
  /// See Operators::linear; arguments already checked.
  void run(const LinearArgs& args);

 private:
  void stream(const LinearArgs& args, int thread);

  ThreadPool& pool_;
  std::vector<Scratch> scratch_;  // one a thread
};

}  // namespace spd
