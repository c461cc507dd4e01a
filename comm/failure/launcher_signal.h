// The launcher's signals: the first sign that it is ending the job, and how long it waits for a
// node.
#pragma once

#include <optional>

namespace spd {

/// From now on the signal is noticed with which Open MPI's daemons begin to end the ranks of an
/// aborted job: SIGCONT, in case a rank stands still, within milliseconds; SIGTERM follows a second
/// later (Open MPI 4, orte/mca/odls). Other launchers may never send it.
void listen_to_launcher();

/// Whether such a signal has come since this was made. Signal-safe and thread-safe.
class LauncherSignal {
 public:
  LauncherSignal();
  bool received() const;

 private:
  int before_;
};

/// Seconds after which Open MPI's mpirun ends a job one of whose nodes it cannot reach: the
/// keep-alive of its connections (oob_tcp_keepalive_*, which ranks inherit), infinity where that is
/// turned off. Nothing where this process was not started by mpirun.
std::optional<double> launcher_keepalive_s();

}  // namespace spd
