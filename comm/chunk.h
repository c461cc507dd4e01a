// Chunks of a payload: how its elements are divided among the ranks that each own a part of it.
#pragma once

#include <algorithm>
#include <cstddef>

namespace spd {

/// Consecutive elements of a payload; an owner's chunk may be empty.
struct Chunk {
  std::size_t begin = 0;
  std::size_t count = 0;

  std::size_t end() const { return begin + count; }
};

/// Near-equal chunks of `count` elements. Their edges are multiples of 32: two cache lines of
/// floats, so that no two ranks write to one line, and a block of every wire format, so that a
/// chunk of encoded data is encoded data.
inline Chunk chunk_of(std::size_t count, int rank, int ranks) {
  constexpr std::size_t kGrain = 32;
  const std::size_t grains = (count + kGrain - 1) / kGrain;
  const auto edge = [&](int r) { return std::min(count, grains * r / ranks * kGrain); };
  const std::size_t begin = edge(rank);
  return {begin, edge(rank + 1) - begin};
}

}  // namespace spd
