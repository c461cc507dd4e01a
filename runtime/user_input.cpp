#include "runtime/user_input.h"

#include <cstdint>

#include "kernels/device/cpu_device.h"
#include "runtime/interrupt.h"

namespace spd {

void wait_for_root(const RankComms& comms, const std::function<bool()>& done) {
  CpuDevice device;
  const auto stream = device.make_stream();
  for (std::uint8_t over = 0; over == 0;) {
    if (comms.rank == 0) over = done() ? 1 : 0;
    comms.world->broadcast(&over, sizeof over, 0, *stream, {"waiting for input"});
    if (over != 0) return;
    if (const auto why = find_interruption(comms, *stream)) {
      stop(*why, "rank 0 was waiting for input or reading it", "the same command begins anew");
    }
  }
}

}  // namespace spd
