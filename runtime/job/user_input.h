// Input that a user may take any time to give.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include "comm/rank_comms.h"

namespace spd {

/// All of stdin, however long that takes. Throws input Error for more than `most_bytes`.
std::string read_stdin(std::uint64_t most_bytes);

/// Returns on all ranks once `done` is true on rank 0, which alone is asked and may take up to a
/// tenth of a second to say no. However long that is, no deadline passes, for the ranks keep
/// meeting; one that dies ends the job as in any collective. Throws AgreedError where a rank is
/// asked to stop meanwhile.
void wait_for_root(const RankComms& comms, const std::function<bool()>& done);

/// What `read` returns on rank 0, T{} elsewhere; collective. Throws on rank 0 what `read` threw.
/// `read` must own all it uses: its thread is left behind where another rank fails meanwhile.
template <class T>
T read_on_root(const RankComms& comms, std::function<T()> read) {
  std::future<T> result;
  if (comms.rank == 0) {
    std::packaged_task<T()> task(std::move(read));
    result = task.get_future();
    std::thread(std::move(task)).detach();
  }
  wait_for_root(comms, [&] {
    return result.wait_for(std::chrono::milliseconds(100)) == std::future_status::ready;
  });
  return comms.rank == 0 ? result.get() : T{};
}

}  // namespace spd
