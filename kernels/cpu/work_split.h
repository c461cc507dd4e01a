// The split of work into near-equal parts, one a thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace spd {

struct IndexRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Part `index` of `parts` near-equal parts of [0, count), their bounds multiples of `unit`.
inline IndexRange split_range(std::int64_t count, std::int64_t unit, std::int64_t index,
                              std::int64_t parts) {
  const std::int64_t units = (count + unit - 1) / unit;
  return {std::min(count, units * index / parts * unit),
          std::min(count, units * (index + 1) / parts * unit)};
}

}  // namespace spd
