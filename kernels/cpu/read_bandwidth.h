// How fast this machine reads memory: the bound on decoding, which reads every weight once a token.
#pragma once

#include <cstddef>
#include <vector>

namespace spd {

/// Bytes per second that `threads` threads read together: each sums its own part of a buffer much
/// larger than the last-level cache, in one forward pass; the median of `passes` passes. Pins as
/// CpuOptions::cores does (the calling thread too). `bytes` 0: eight times the last-level cache, at
/// least 256 MiB, at most 1 GiB. Throws system Error when memory is short.
double measure_read_bandwidth(int threads, const std::vector<int>& cores = {},
                              std::size_t bytes = 0, int passes = 9);

}  // namespace spd
