// The machine's roof: the two rates that kernels are measured against.
#pragma once

#include "kernels/operators.h"

namespace spd::bench {

struct Roof {
  double bytes_per_s = 0.0;  ///< reading memory, all threads together
  double flops_per_s = 0.0;  ///< a bf16 product of [512, 4096] by [4096, 4096], oneDNN's
};

/// Measures both with the threads of `operators`; takes about two seconds.
Roof measure_roof(Operators& operators, Stream& stream);

}  // namespace spd::bench
