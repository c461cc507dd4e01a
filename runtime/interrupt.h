// SIGTERM and SIGINT as a request to stop at the next good moment.
#pragma once

namespace spd {

/// From now on the first SIGTERM or SIGINT only sets interrupted(); a second one ends the process
/// as usual. May be called by several ranks of one process.
void catch_interrupts();
bool interrupted();

}  // namespace spd
