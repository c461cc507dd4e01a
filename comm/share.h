// How the elements of a payload are divided among ranks.
#pragma once

#include <algorithm>
#include <cstddef>

namespace spd {

/// The elements that one of several ranks owns.
struct Share {
  std::size_t begin = 0;
  std::size_t count = 0;

  std::size_t end() const { return begin + count; }
};

/// Near-equal shares. Their edges are multiples of 32: two cache lines of floats, so that no two
/// ranks write to one line, and a block of every wire format, so that a share of encoded data is
/// encoded data.
inline Share share_of(std::size_t count, int rank, int ranks) {
  constexpr std::size_t kGrain = 32;
  const std::size_t grains = (count + kGrain - 1) / kGrain;
  const auto edge = [&](int r) { return std::min(count, grains * r / ranks * kGrain); };
  const std::size_t begin = edge(rank);
  return {begin, edge(rank + 1) - begin};
}

}  // namespace spd
