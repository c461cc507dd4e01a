#include "comm/link_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "kernels/device/error.h"

namespace spd {
namespace {

// A segment more must explain as much as an error of this size at one sample would cost: what a
// prediction may be off by is not worth another segment.
constexpr double kNoise = 0.15;
constexpr double kSame = 1e-12;

/// Sums over samples of (a/t + b s/t - 1)^2's terms: weights 1/t^2 make the errors relative ones.
struct Sums {
  double aa = 0, ab = 0, bb = 0, a1 = 0, b1 = 0, count = 0;

  void add(const TimeSample& sample) {
    const double a = 1.0 / sample.p50_us;
    const double b = static_cast<double>(sample.bytes) / sample.p50_us;
    aa += a * a;
    ab += a * b;
    bb += b * b;
    a1 += a;
    b1 += b;
    count += 1;
  }
};

/// The best line through some samples, and the sum of its squared relative errors.
struct Line {
  double alpha_us = 0.0;
  double us_per_byte = 0.0;
  double cost = 0.0;
};

Line fit_line(const Sums& sums, bool from_zero) {
  const auto& [aa, ab, bb, a1, b1, count] = sums;
  const double determinant = aa * bb - ab * ab;
  Line line;
  if (determinant > 1e-9 * aa * bb) {
    line.alpha_us = (a1 * bb - b1 * ab) / determinant;
    line.us_per_byte = (aa * b1 - ab * a1) / determinant;
  }
  // A falling line would predict nonsense beyond its ends. Behind a bend alpha may be negative, but
  // not where the line begins at no bytes.
  if (determinant <= 1e-9 * aa * bb || line.us_per_byte < 0) line = {a1 / aa, 0.0, 0.0};
  if (line.alpha_us < 0 && from_zero) line = {0.0, b1 / bb, 0.0};
  const double alpha = line.alpha_us, beta = line.us_per_byte;
  line.cost = std::max(0.0, alpha * alpha * aa + 2 * alpha * beta * ab + beta * beta * bb -
                                2 * alpha * a1 - 2 * beta * b1 + count);
  return line;
}

/// Goes over from the line of `segments`' last, fitted up to `last`, to `next`, fitted from `first`
/// on: where the two cross, if that is in between; in one step at `first` where the time jumps, for
/// sizes are powers of two or half more, and what changes with the size mostly does so at one or
/// shortly before the other (a packet is full at 1448 bytes); in one step, half way in octaves,
/// where it falls; else by a line from the one to the other.
void append(std::vector<LinkSegment>& segments, LinkSegment next, std::size_t last,
            std::size_t first) {
  const LinkSegment& before = segments.back();
  const auto low = static_cast<double>(last);
  const auto high = static_cast<double>(first);
  const double crossing =
      (next.alpha_us - before.alpha_us) / (before.us_per_byte - next.us_per_byte);
  if (std::isfinite(crossing) && crossing > low && crossing < high) {
    next.from_bytes = static_cast<std::size_t>(std::ceil(crossing));
  } else if (next.at(first) > (1 + kNoise) * before.at(first)) {
    next.from_bytes = first;
  } else if (next.at(first) >= before.at(last)) {
    const double slope = (next.at(first) - before.at(last)) / (high - low);
    segments.push_back({last, before.at(last) - slope * low, slope});
    next.from_bytes = first;
  } else {
    const auto half_way = static_cast<std::size_t>(std::ceil(std::sqrt(low * high)));
    next.from_bytes = next.at(half_way) > 0 ? half_way : first;
  }
  segments.push_back(next);
}

[[noreturn]] void refuse(const LinkCurve& curve, const std::string& why) {
  throw Error(ErrorCode::input,
              fmt::format("all-reduce times of group \"{}\", {} {}: {}", name(curve.group),
                          curve.algorithm, name(curve.wire), why));
}

void validate(const LinkCurve& curve) {
  if (curve.segments.empty() || curve.segments.front().from_bytes != 0) {
    refuse(curve, "segments must begin at 0 bytes");
  }
  for (std::size_t i = 0; i < curve.segments.size(); ++i) {
    const LinkSegment& segment = curve.segments[i];
    if (i > 0 && segment.from_bytes <= curve.segments[i - 1].from_bytes) {
      refuse(curve, "segments do not ascend in from_bytes");
    }
    // Segments behind a bend may have a negative alpha, as long as their times are positive.
    const double shortest = segment.at(std::max<std::size_t>(segment.from_bytes, 1));
    const bool sane = std::isfinite(shortest) && shortest > 0.0 && segment.us_per_byte >= 0.0 &&
                      (i > 0 || segment.alpha_us >= 0.0);
    if (!sane) refuse(curve, "a segment's alpha_us and us_per_byte must give positive times");
  }
}

}  // namespace

std::string_view name(LinkGroup group) {
  switch (group) {
    case LinkGroup::node:
      return "node";
    case LinkGroup::cross:
      return "cross";
    case LinkGroup::world:
      return "world";
  }
  return "?";
}

LinkGroup parse_link_group(std::string_view text) {
  for (const LinkGroup group : kLinkGroups) {
    if (text == name(group)) return group;
  }
  throw Error(ErrorCode::usage, fmt::format("unknown group \"{}\"", text),
              "use node, cross or world");
}

std::vector<LinkSegment> fit_segments(std::span<const TimeSample> samples) {
  const std::size_t count = samples.size();
  if (count == 0) return {};
  // best[n]: the least cost of the first n samples, and where its last segment begins. A segment
  // holds two samples at least, or there is but one.
  struct Best {
    double cost = std::numeric_limits<double>::infinity();
    std::size_t begin = 0;
  };
  std::vector<Best> best(count + 1);
  best[0].cost = 0.0;
  for (std::size_t end = 1; end <= count; ++end) {
    Sums sums;
    for (std::size_t begin = end; begin-- > 0;) {
      sums.add(samples[begin]);
      if (end - begin < 2 && count > 1) continue;
      const Line line = fit_line(sums, begin == 0);
      const double cost = best[begin].cost + line.cost + kNoise * kNoise;
      // Of pieces that are alike but for rounding the longest.
      if (cost < best[end].cost + kSame) best[end] = {cost, begin};
    }
  }
  std::vector<std::size_t> ends;
  for (std::size_t end = count; end > 0; end = best[end].begin) ends.push_back(end);
  std::vector<LinkSegment> segments;
  for (auto end = ends.rbegin(); end != ends.rend(); ++end) {
    const Best& piece = best[*end];
    Sums sums;
    for (std::size_t i = piece.begin; i < *end; ++i) sums.add(samples[i]);
    const Line line = fit_line(sums, piece.begin == 0);
    const LinkSegment segment{0, line.alpha_us, line.us_per_byte};
    if (segments.empty()) {
      segments.push_back(segment);
    } else {
      append(segments, segment, samples[piece.begin - 1].bytes, samples[piece.begin].bytes);
    }
  }
  return segments;
}

double LinkCurve::predict_us(std::size_t bytes) const {
  const LinkSegment* segment = &segments.front();
  for (const LinkSegment& candidate : segments) {
    if (bytes >= candidate.from_bytes) segment = &candidate;
  }
  return segment->at(bytes);
}

LinkModel::LinkModel(std::vector<int> ranks_per_node, std::vector<LinkCurve> curves)
    : ranks_per_node_(std::move(ranks_per_node)), curves_(std::move(curves)) {
  for (const LinkCurve& curve : curves_) validate(curve);
}

int LinkModel::ranks(LinkGroup group) const {
  switch (group) {
    case LinkGroup::node:
      return ranks_per_node_.empty()
                 ? 0
                 : *std::max_element(ranks_per_node_.begin(), ranks_per_node_.end());
    case LinkGroup::cross:
      return static_cast<int>(ranks_per_node_.size());
    case LinkGroup::world:
      return std::accumulate(ranks_per_node_.begin(), ranks_per_node_.end(), 0);
  }
  return 0;
}

const LinkCurve* LinkModel::find(LinkGroup group, WireFormat wire,
                                 std::string_view algorithm) const {
  for (const LinkCurve& curve : curves_) {
    if (curve.group == group && curve.wire == wire && curve.algorithm == algorithm) return &curve;
  }
  return nullptr;
}

double LinkModel::predict_us(LinkGroup group, std::size_t bytes, WireFormat wire) const {
  if (ranks(group) <= 1) return 0.0;
  std::optional<LinkGroup> same;  // on one node, one and the same
  if (ranks(LinkGroup::cross) == 1) {
    same = group == LinkGroup::node ? LinkGroup::world : LinkGroup::node;
  }
  for (const LinkGroup candidate : {group, same.value_or(group)}) {
    if (const LinkCurve* curve = find(candidate, wire)) return curve->predict_us(bytes);
    if (const LinkCurve* curve = find(candidate, WireFormat::f32)) {
      return curve->predict_us(wire_bytes(wire, bytes / sizeof(float)));
    }
  }
  throw Error(ErrorCode::input,
              fmt::format("the topology has no all-reduce times for group \"{}\"", name(group)),
              "measure it with spd topo --json, or add an entry to all_reduce by hand");
}

}  // namespace spd
