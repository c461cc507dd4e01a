// A model of links: what an all-reduce costs, as measured times and as a curve fitted to them that
// the planner predicts from. Machines that are not here are described by the curve alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/wire_format.h"

namespace spd {

/// The groups whose all-reduces a plan chooses between.
enum class LinkGroup : std::uint8_t {
  node,   ///< the ranks of a node, on all nodes at once: what level `node` does
  cross,  ///< one rank of each node
  world,  ///< all ranks: what level `full` does
};
inline constexpr std::array kLinkGroups{LinkGroup::node, LinkGroup::cross, LinkGroup::world};
std::string_view name(LinkGroup group);
/// Throws usage Error for a name that is none of node, cross, world.
LinkGroup parse_link_group(std::string_view text);

/// Times of an all-reduce of one size; each is the slowest rank's.
struct TimeSample {
  std::size_t bytes = 0;  ///< of f32 payload, whatever the wire format
  double p50_us = 0.0;
  double p99_us = 0.0;
  double max_us = 0.0;
};

/// alpha_us + bytes * us_per_byte, from this size on.
struct LinkSegment {
  std::size_t from_bytes = 0;
  double alpha_us = 0.0;
  double us_per_byte = 0.0;

  double at(std::size_t bytes) const { return alpha_us + us_per_byte * static_cast<double>(bytes); }
};

/// Segments of alpha and beta that fit the p50 of the samples, least squares of the relative error;
/// as few as explain them, since transports and algorithms change with the size and straight lines
/// between those changes are what there is. `samples` ascend in bytes. Slopes are not negative.
/// Takes time quadratic in the samples: a second for ten thousand.
std::vector<LinkSegment> fit_segments(std::span<const TimeSample> samples);

/// One algorithm of a group in one wire format.
struct LinkCurve {
  LinkGroup group = LinkGroup::world;
  WireFormat wire = WireFormat::f32;
  std::string algorithm = kAuto;    ///< of AllReduceAlgorithm, or of the backend; kAuto: see there
  std::string backend;              ///< "shm", "ucx", ...; empty where it was described by hand
  std::vector<TimeSample> samples;  ///< ascending in bytes; none where it was described by hand
  std::vector<LinkSegment> segments;  ///< ascending in from_bytes, the first from 0

  /// What the runtime itself uses, whichever algorithm that is at a size.
  static constexpr const char* kAuto = "auto";

  double predict_us(std::size_t bytes) const;
};

/// The curves of a machine.
class LinkModel {
 public:
  LinkModel() = default;
  /// `ranks_per_node`: [nodes]. Throws input Error for a curve without segments, for segments that
  /// do not begin at 0 or do not ascend, and for times that are not finite and positive.
  LinkModel(std::vector<int> ranks_per_node, std::vector<LinkCurve> curves);

  const std::vector<int>& ranks_per_node() const { return ranks_per_node_; }
  const std::vector<LinkCurve>& curves() const { return curves_; }
  /// Ranks of the largest such group.
  int ranks(LinkGroup group) const;

  /// Microseconds of an all-reduce of `bytes` of f32 payload. Groups of one rank cost nothing, and
  /// on one node the world is the node. Where a wire format was not measured, the time is that of
  /// f32 for the bytes it sends: a bound, since it leaves out the conversion.
  /// Throws input Error where the machine has no times for the group.
  double predict_us(LinkGroup group, std::size_t bytes, WireFormat wire = WireFormat::f32) const;
  /// The curve that a prediction is taken from (of `wire` itself), or null.
  const LinkCurve* find(LinkGroup group, WireFormat wire,
                        std::string_view algorithm = LinkCurve::kAuto) const;

 private:
  std::vector<int> ranks_per_node_;
  std::vector<LinkCurve> curves_;
};

}  // namespace spd
