#include "comm/failure/launcher_signal.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <limits>

namespace spd {

namespace {

std::atomic<int> signals{0};  // a signal handler reaches nothing else
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void count_signal(int) { signals.fetch_add(1, std::memory_order_relaxed); }

// Of Open MPI's daemons, in seconds or a count; where it is not set, as `ompi_info --all` has it.
double keepalive(const char* name, double otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atof(value) : otherwise;
}

}  // namespace

void listen_to_launcher() {
  struct sigaction action = {};
  action.sa_handler = count_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGCONT, &action, nullptr);
}

LauncherSignal::LauncherSignal() : before_(signals.load(std::memory_order_relaxed)) {}

bool LauncherSignal::received() const { return signals.load(std::memory_order_relaxed) != before_; }

std::optional<double> launcher_keepalive_s() {
  if (!std::getenv("OMPI_MCA_orte_hnp_uri")) return std::nullopt;
  const double idle = keepalive("OMPI_MCA_oob_tcp_keepalive_time", 300);
  if (idle <= 0.0) return std::numeric_limits<double>::infinity();
  return idle + keepalive("OMPI_MCA_oob_tcp_keepalive_intvl", 20) *
                    keepalive("OMPI_MCA_oob_tcp_keepalive_probes", 9);
}

}  // namespace spd
