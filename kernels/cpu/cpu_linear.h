// The product of activations with a weight, split over the threads of a rank.
#pragma once

#include <vector>

#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/operators.h"

namespace spd {

/// Each thread computes a slice of the outputs. Few tokens: dot products, the weight read from
/// memory once. Many: a blocked product.
class CpuLinear {
 public:
  /// `products`: see CpuOptions.
  CpuLinear(ThreadPool& pool, MatmulMode products)
      : pool_(pool), scratch_(pool.size()), products_(products) {}
  /// See Operators::linear; arguments already checked.
  void run(const LinearArgs& args);

 private:
  struct Blocking;
  struct OutputBlock;

  void run_dots(const LinearArgs& args);
  void dot_tokens(const LinearArgs& args, int thread);
  struct DotTokens {
    std::int64_t first = 0;
    int count = 0;
    const float* arranged = nullptr;
  };
  void dot_outputs(const LinearArgs& args, int thread, const DotTokens& tokens, float* values);
  void run_blocked(const LinearArgs& args, const GemmKernels& kernels);
  void pack_x(const LinearArgs& args, const Blocking& blocking, int thread);
  void multiply(const LinearArgs& args, const Blocking& blocking, int thread);

  ThreadPool& pool_;
  Scratch packed_x_;              // of all threads
  std::vector<Scratch> scratch_;  // one a thread
  MatmulMode products_;
};

}  // namespace spd
