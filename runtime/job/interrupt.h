// SIGTERM, SIGINT and SIGUSR1 as a request to stop at the next good moment, on any rank for all.
//
// Work on all ranks asks find_interruption() between its pieces; what a rank does alone asks
// stop_alone_if_interrupted() inside agree(). Either way all ranks end with one message that says
// what was kept, and ErrorCode::interrupted.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "comm/rank_comms.h"
#include "kernels/device/device.h"
#include "runtime/job/agreed_error.h"

namespace spd {

/// From now on the first such signal only sets interrupted(); one that comes half a second later or
/// more ends the process as usual. For the beginning of main(); SIGHUP is another one unless it is
/// ignored (nohup). SIGPIPE and SIGXFSZ are ignored: writing says what is wrong.
void catch_interrupts();
/// Whether this process was asked to stop.
bool interrupted();

/// A request to stop, the same on all ranks.
struct Interruption {
  int signal = 0;
  int rank = -1;         ///< that was asked; -1: the process of virtual ranks
  int output_error = 0;  ///< instead of a signal: why rank 0 cannot write stdout, an errno

  /// "interrupted by SIGTERM at rank 1", or what is wrong with stdout.
  std::string text() const;
};

/// Whether any rank was asked to stop, or rank 0 cannot write stdout: the same answer on all of
/// them, which call it alike.
std::optional<Interruption> find_interruption(const RankComms& comms, Stream& stream);

/// Throws AgreedError: why, what was `kept` ("kept: ..." or that nothing was) and how to go on.
[[noreturn]] void stop(const Interruption& why, const std::string& kept, const std::string& remedy);

/// On one rank, inside agree(): throws where this process was asked to stop.
void stop_alone_if_interrupted(const RankComms& comms, const char* during);

/// Safe points of work in short steps: the ranks are asked about every `pace`, which costs them a
/// small collective, and not behind every step.
class SafePoints {
 public:
  SafePoints(const RankComms& comms, Stream& stream,
             std::chrono::milliseconds pace = std::chrono::milliseconds(100))
      : comms_(comms), stream_(stream), pace_(pace) {}
  /// To be called by all ranks alike, behind each step.
  std::optional<Interruption> behind_step();
  /// The same behind a step that may be a long one.
  std::optional<Interruption> behind_long_step();

 private:
  const RankComms& comms_;
  Stream& stream_;
  std::chrono::milliseconds pace_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::int64_t steps_ = 0;  // since the ranks were asked
  std::int64_t of_ = 1;     // until they are asked again; the same on all of them
};

}  // namespace spd
