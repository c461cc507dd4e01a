// The stack of the thread that runs.
#pragma once

#include <cstddef>

namespace spd {

struct HostStack {
  std::size_t size = 0;  ///< bytes of the whole
  std::size_t left = 0;  ///< bytes below the caller's frame
};

/// As the system bounds it: by ulimit -s for the first thread, by what they were made with for
/// others. Where the system does not say, as if a small one began here. Cheap enough to be asked at
/// every call of a recursion.
HostStack host_stack();

}  // namespace spd
