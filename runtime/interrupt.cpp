#include "runtime/interrupt.h"

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <vector>

namespace spd {
namespace {

volatile std::sig_atomic_t signalled = 0;

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { signalled = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() { return signalled != 0; }

bool any_interrupted(const RankComms& comms, Stream& stream) {
  const auto mine = static_cast<std::uint8_t>(interrupted());
  std::vector<std::uint8_t> all(comms.ranks());
  comms.world->all_gather(&mine, all.data(), sizeof(mine), stream, {"interruption"});
  return std::any_of(all.begin(), all.end(), [](std::uint8_t asked) { return asked != 0; });
}

}  // namespace spd
