#include "runtime/cluster/link_probe.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <numeric>
#include <thread>
#include <tuple>

#include "kernels/device/cpu_device.h"

namespace spd {
namespace {

using Clock = std::chrono::steady_clock;
constexpr CallSite kSite{"probe"};
constexpr int kSweeps = 5;
constexpr int kFewest = 4;  // repetitions of a size in a sweep
constexpr int kMost = 400;
constexpr int kWarmup = 1;
// What a model does before a sync: it computes, for so long at least, on weights that pass through
// the caches. A small message takes up to twice as long behind that as behind another message. And
// links with a token bucket (cloud networks, shaped ones) let bursts through at full speed and then
// slow down: in a row, the time of a size would be a matter of how often it was repeated.
constexpr std::chrono::microseconds kBetween{150};
constexpr std::chrono::microseconds kBetweenBursts{500};
constexpr std::size_t kBurst = 16 * 1024;           // bytes sent across nodes at a time
constexpr std::size_t kWeights = 16 * 1024 * 1024;  // bytes
constexpr std::size_t kLongest = 1 << 20;  // bytes: beyond, a line between two sizes says it all
// A held-out size that is predicted worse than this, of what is promised (15 %), is looked into.
constexpr double kDoubt = 0.10;
constexpr int kRounds = 2;                 // of that
constexpr double kDoubtedUs = 10'000.0;    // a size and sweep
constexpr std::size_t kWholeBlocks = 128;  // bytes: a multiple of any wire format's block
constexpr std::size_t kLine = 64;          // bytes: what new sizes are multiples of
// Of a packet: IPv4's and TCP's, with timestamps, UCX's and ours; and the first two without.
constexpr std::size_t kMostHeaders = 92;
constexpr std::size_t kLeastHeaders = 40;

double us_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

double thread_cpu_us() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e6 * static_cast<double>(time.tv_sec) + 1e-3 * static_cast<double>(time.tv_nsec);
}

/// What a rank does between its syncs: it reads weights. Where ranks share cores (nodes that are
/// emulated on one machine), it rests instead: all times would be those of waiting for a core.
class Computing {
 public:
  /// Collective over all ranks, who find out together whether they share cores.
  Computing(const RankComms& comms, Stream& stream) {
    comms.world->barrier(kSite);
    const auto begin = Clock::now();
    const double cpu_before = thread_cpu_us();
    run(kTrial);
    const double waited = 1.0 - (thread_cpu_us() - cpu_before) / us_since(begin);
    rests_ = slowest(comms, {waited}, stream, kSite).back() > kShared;
  }

  void run(std::chrono::microseconds time) {
    if (rests_) return std::this_thread::sleep_for(time);
    for (const auto end = Clock::now() + time; Clock::now() < end;) {
      constexpr std::size_t kPiece = 64 * 1024;
      const auto first = weights_.begin() + static_cast<std::ptrdiff_t>(at_);
      sum_ = std::accumulate(first, first + kPiece, std::uint64_t{0});
      at_ = (at_ + kPiece) % weights_.size();
    }
  }

 private:
  static constexpr std::chrono::milliseconds kTrial{30};
  static constexpr double kShared = 0.25;  // of the time spent waiting for the core

  bool rests_ = false;
  std::vector<std::uint64_t> weights_ =
      std::vector<std::uint64_t>(kWeights / sizeof(std::uint64_t));
  std::size_t at_ = 0;
  volatile std::uint64_t sum_ = 0;  // read by nobody, but not left out
};

/// Runs `step` so many times on the ranks that have one: in a row, or each time behind `between`,
/// at once on all ranks. Nobody computes while others are at it.
std::vector<double> repeat(const RankComms& comms, int times, Stream& stream,
                           const std::function<void()>& between,
                           const std::function<void()>& step) {
  std::vector<double> mine(times, 0.0);
  if (!between) comms.world->barrier(kSite);
  for (double& us : mine) {
    if (between) {
      between();
      comms.world->barrier(kSite);
    }
    if (step) {
      const auto begin = Clock::now();
      step();
      us = us_since(begin);
    }
    if (between) comms.world->barrier(kSite);
  }
  return slowest(comms, mine, stream, kSite);
}

/// A size of a target, and its samples so far.
struct Cell {
  const ProbeTarget* target;
  std::size_t bytes;
  bool held_out;
  bool doubted = false;
  std::vector<double> us{};
  std::vector<double> medians{};  // of the sweeps

  // The lower quartile of the sweeps: whatever else runs on the machine adds time, and a sweep that
  // was lucky with where its threads ran does not stand for the size.
  double p50_us() const {
    std::vector<double> ascending = medians;
    std::sort(ascending.begin(), ascending.end());
    return ascending.at((ascending.size() - 1) / 4);
  }
};

bool by_size(const Cell& a, const Cell& b) {
  return std::tie(a.target, a.bytes) < std::tie(b.target, b.bytes);
}

/// The largest size that goes in one packet for certain, and the smallest that does not.
std::pair<std::size_t, std::size_t> around_packet(const ProbeTarget& target) {
  const auto size_of_more_than = [&](std::size_t on_the_wire) {
    std::size_t bytes = 0;
    while (wire_bytes(target.wire, bytes / sizeof(float)) <= on_the_wire) bytes += kLine;
    return bytes;
  };
  return {size_of_more_than(target.packet_bytes - kMostHeaders) - kLine,
          size_of_more_than(target.packet_bytes - kLeastHeaders)};
}

void add_packet_sizes(const ProbeTarget& target, std::vector<Cell>& cells) {
  if (target.packet_bytes <= kMostHeaders + kSmallestProbe) return;
  const auto [below, above] = around_packet(target);
  for (const std::size_t bytes : {below, above}) {
    if (bytes >= target.max_bytes) return;
    const auto same = std::find_if(cells.begin(), cells.end(), [&](const Cell& cell) {
      return cell.target == &target && cell.bytes == bytes;
    });
    if (same != cells.end() && !same->held_out) continue;
    if (same != cells.end()) same->bytes -= kWholeBlocks;  // makes room
    cells.push_back({.target = &target, .bytes = bytes, .held_out = false});
  }
}

std::vector<Cell> cells_of(const std::vector<ProbeTarget>& targets) {
  std::vector<Cell> cells;
  for (const ProbeTarget& target : targets) {
    // What a plan is not made from is there to be compared with: fewer sizes do.
    const bool planned = target.algorithm == LinkCurve::kAuto;
    int index = 0;
    for (std::size_t bytes = kSmallestProbe; bytes <= target.max_bytes;
         bytes *= planned ? 2 : 4, ++index) {
      cells.push_back({.target = &target, .bytes = bytes, .held_out = false});
      if (!planned) continue;
      // Every third size: 1.4 times it, a whole number of blocks of any wire format.
      const std::size_t between = bytes * 362 / 256 / kWholeBlocks * kWholeBlocks;
      if (index % 3 == 2 && 2 * bytes <= target.max_bytes) {
        cells.push_back({.target = &target, .bytes = between, .held_out = true});
      }
      // Where transports and algorithms change, which is mostly below a power of two or at it.
      const std::size_t half_more = bytes / 2 * 3;
      if (half_more < std::min(target.max_bytes, kLongest)) {
        cells.push_back({.target = &target, .bytes = half_more, .held_out = false});
      }
    }
    if (planned) add_packet_sizes(target, cells);
  }
  std::sort(cells.begin(), cells.end(), by_size);
  return cells;
}

void measure(const RankComms& comms, Cell& cell, double budget_us, Computing& computing,
             std::vector<float>& data, Stream& stream) {
  std::function<void()> step;
  if (cell.target->comm) {
    step = [&] {
      cell.target->comm->all_reduce(data.data(), cell.bytes / sizeof(float), stream, kSite,
                                    cell.target->wire);
    };
  }
  const bool burst = cell.target->group != LinkGroup::node && cell.bytes >= kBurst;
  const auto between = [&] { computing.run(burst ? kBetweenBursts : kBetween); };
  const auto begin = Clock::now();
  repeat(comms, kWarmup, stream, between, step);
  const double expected_us = slowest(comms, {us_since(begin) / kWarmup}, stream, kSite).back();
  const int times = static_cast<int>(std::clamp<double>(budget_us / expected_us, kFewest, kMost));
  const auto us = repeat(comms, times, stream, between, step);
  cell.us.insert(cell.us.end(), us.begin(), us.end());
  cell.medians.push_back(summarize(us).p50);
}

LinkProbe fit(const std::vector<ProbeTarget>& targets, const std::vector<Cell>& cells) {
  LinkProbe probe;
  for (const ProbeTarget& target : targets) {
    LinkCurve curve{target.group, target.wire, target.algorithm, "", {}, {}};
    if (target.comm) curve.backend = target.comm->backend();
    for (const Cell& cell : cells) {
      if (cell.target != &target || cell.held_out) continue;
      const Summary summary = summarize(cell.us);
      curve.samples.push_back({cell.bytes, cell.p50_us(), summary.p99, summary.max});
    }
    curve.segments = fit_segments(curve.samples);
    for (const Cell& cell : cells) {
      if (cell.target != &target || !cell.held_out) continue;
      probe.held_out.push_back(
          {target.group, target.wire, cell.bytes, cell.p50_us(), curve.predict_us(cell.bytes)});
    }
    probe.curves.push_back(std::move(curve));
  }
  return probe;
}

/// Marks what to measure again: sizes predicted badly and what is measured next to them, and new
/// sizes in between. Whatever made them differ (a packet that is full, another algorithm) lies
/// there, or one of them was disturbed. All ranks have the same times, and agree. False: nothing.
bool doubt(const std::vector<FitCheck>& held_out, std::vector<Cell>& cells) {
  for (Cell& cell : cells) cell.doubted = false;
  std::vector<Cell> more;
  for (const FitCheck& one : held_out) {
    if (std::abs(one.error()) <= kDoubt) continue;
    const auto at = std::find_if(cells.begin(), cells.end(), [&](const Cell& cell) {
      return cell.held_out && cell.bytes == one.bytes && cell.target->group == one.group &&
             cell.target->wire == one.wire;
    });
    // A held-out size is neither the first of its target nor the last.
    for (auto cell = at - 1; cell <= at + 1; ++cell) cell->doubted = true;
    for (const auto& [low, high] : {std::pair{at - 1, at}, std::pair{at, at + 1}}) {
      const double middle = std::sqrt(static_cast<double>(low->bytes) * high->bytes);
      const std::size_t bytes = std::lround(middle / kLine) * kLine;
      if (bytes <= low->bytes || bytes >= high->bytes) continue;
      more.push_back({.target = at->target, .bytes = bytes, .held_out = false, .doubted = true});
    }
  }
  cells.insert(cells.end(), more.begin(), more.end());
  std::sort(cells.begin(), cells.end(), by_size);
  return std::any_of(cells.begin(), cells.end(), [](const Cell& cell) { return cell.doubted; });
}

}  // namespace

LinkProbe probe_all_reduces(const RankComms& comms, const std::vector<ProbeTarget>& targets,
                            double seconds,
                            const std::function<void(std::int64_t, std::int64_t)>& progress) {
  CpuDevice device;
  const auto stream = device.make_stream();
  Computing computing(comms, *stream);
  std::vector<Cell> cells = cells_of(targets);
  std::size_t largest = kSmallestProbe;
  for (const Cell& cell : cells) largest = std::max(largest, cell.bytes);
  std::vector<float> data(largest / sizeof(float));  // zeros, which stay zeros
  const auto count = static_cast<std::int64_t>(cells.size()) * kSweeps;
  const auto begin = Clock::now();
  std::int64_t done = 0;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (Cell& cell : cells) {
      // What is left, shared by what is left: cheap sizes leave their time to expensive ones.
      double left_us = std::max(0.0, seconds * 1e6 - us_since(begin));
      comms.world->broadcast(&left_us, sizeof left_us, 0, *stream, kSite);
      measure(comms, cell, left_us / static_cast<double>(count - done), computing, data, *stream);
      progress(++done, count);
    }
  }
  LinkProbe probe = fit(targets, cells);
  for (int round = 0; round < kRounds && doubt(probe.held_out, cells); ++round) {
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      for (Cell& cell : cells) {
        if (!cell.doubted) continue;
        measure(comms, cell, kDoubtedUs, computing, data, *stream);
        progress(done, count);
      }
    }
    probe = fit(targets, cells);
  }
  return probe;
}

PairTimes probe_pair(const RankComms& comms, Communicator* pair) {
  CpuDevice device;
  const auto stream = device.make_stream();
  constexpr std::size_t kLarge = 1 << 20;
  std::vector<std::byte> data(kLarge);
  const auto one_way_us = [&](std::size_t bytes, int times) {
    std::function<void()> step;
    if (pair) {
      step = [&] {
        pair->broadcast(data.data(), bytes, 0, *stream, kSite);
        pair->broadcast(data.data(), bytes, 1, *stream, kSite);
      };
    }
    repeat(comms, times / 10, *stream, {}, step);
    auto us = repeat(comms, times, *stream, {}, step);
    for (double& round_trip : us) round_trip /= 2;
    return summarize(us);
  };
  PairTimes times;
  times.latency_us = one_way_us(8, 500);
  times.bandwidth_gb_per_s = static_cast<double>(kLarge) / one_way_us(kLarge, 10).p50 / 1e3;
  return times;
}

}  // namespace spd
