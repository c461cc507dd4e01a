// Measures what links and all-reduces take between the ranks of this job.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/link_model.h"
#include "comm/rank_comms.h"
#include "runtime/report/statistics.h"

namespace spd {

/// An all-reduce to be timed. Rank 0 is in every group.
struct ProbeTarget {
  LinkGroup group = LinkGroup::world;
  std::string algorithm = LinkCurve::kAuto;
  WireFormat wire = WireFormat::f32;
  std::size_t max_bytes = 0;
  std::shared_ptr<Communicator> comm;  ///< null: this rank is not in the group
  /// What goes between nodes in one packet, headers included (a network's MTU); 0: unknown. Sizes
  /// just below and above are timed, too: a second packet is a step that no line through other
  /// sizes shows.
  std::size_t packet_bytes = 0;
};

/// A prediction for a size that was measured, but that the model was not fitted to.
struct FitCheck {
  LinkGroup group = LinkGroup::world;
  WireFormat wire = WireFormat::f32;
  std::size_t bytes = 0;
  double measured_us = 0.0;
  double predicted_us = 0.0;

  double error() const { return predicted_us / measured_us - 1.0; }
};

struct LinkProbe {
  std::vector<LinkCurve> curves;   ///< [targets], fitted
  std::vector<FitCheck> held_out;  ///< of targets with algorithm kAuto
};

inline constexpr std::size_t kSmallestProbe = 256;  ///< bytes

/// Times every kAuto target at sizes that double up to its max_bytes, at 1.5 times each below 1
/// MiB, around a packet's end, and at 1.4 times some of them, to check the fit; others at every
/// second of the doubling sizes. All ranks call it alike and get the same result, but for a curve's
/// backend on ranks that are not in its group. Sizes are swept five times, in about `seconds`, each
/// all-reduce behind some computing, as in a model; p50 is that of the calmest sweep but one, p99
/// and the largest are over all. Where a held-out size is off by more than a tenth, it, its
/// neighbours and sizes between them are measured (again), which takes a little longer.
/// `progress(done, of)` does not count those.
LinkProbe probe_all_reduces(const RankComms& comms, const std::vector<ProbeTarget>& targets,
                            double seconds,
                            const std::function<void(std::int64_t, std::int64_t)>& progress);

/// Messages from one rank to another and back.
struct PairTimes {
  Summary latency_us;             ///< of 8 bytes, one way
  double bandwidth_gb_per_s = 0;  ///< of 1 MiB
};
/// `pair`: a group of two, null on ranks that are not in it; rank 0 of the job need not be. All
/// ranks of the job call it alike and get the same result.
PairTimes probe_pair(const RankComms& comms, Communicator* pair);

}  // namespace spd
