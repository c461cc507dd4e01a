// Launches and bytes by kernel.
#pragma once

#include <cstddef>

namespace cuda_emulation {

struct Operation;

void count_launch(const Operation& op);
/// What is counted from now on is this kernel's.
void begin_counting(const Operation& op);
void count_requested(bool write, std::size_t bytes);
void count_distinct(bool write, int bytes);

}  // namespace cuda_emulation
