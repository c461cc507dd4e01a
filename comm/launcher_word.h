// The launcher's first sign that it is ending the job.
#pragma once

namespace spd {

/// From now on the signal is noticed with which Open MPI's daemons begin to end the ranks of an
/// aborted job: SIGCONT, in case a rank stands still, within milliseconds; SIGTERM follows a second
/// later (Open MPI 4, orte/mca/odls). Other launchers may never send it.
void listen_to_launcher();

/// Whether such a signal has come since this was made.
class LauncherWord {
 public:
  LauncherWord();
  bool given() const;

 private:
  int before_;
};

}  // namespace spd
