// What lanes of a warp do together: shuffles, votes, sums, matrix tiles.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/operation.h"
#include "tests/cuda_emulation/report.h"

namespace cuda_emulation {

namespace {

constexpr std::uint64_t kNothing = 0x7fc00000'7fc00000;  // NaN, as float and as two

/// Calls body(lane) for each lane of the mask.
template <class Body>
void for_lanes(std::uint32_t mask, Body&& body) {
  for (; mask != 0; mask &= mask - 1) body(std::countr_zero(mask));
}

float half_of(std::uint32_t pair, int half, bool f16) {
  if (!f16) return std::bit_cast<float>(half != 0 ? pair & 0xffff0000u : pair << 16);
  __half_raw raw;
  raw.x = static_cast<unsigned short>(half != 0 ? pair >> 16 : pair);
  return __half2float(__half(raw));
}

/// Where lanes of this mask gather: lanes of other masks may be waiting elsewhere.
Gathering& find(Warp& warp, std::uint32_t mask) {
  Gathering* unused = nullptr;
  for (Gathering& gathering : warp.gatherings) {
    if (gathering.arrived == 0) {
      if (!unused) unused = &gathering;
      if (gathering.mask == mask) return gathering;  // the last time, too: most often
      continue;
    }
    if (gathering.mask == mask) return gathering;
  }
  return *unused;
}

/// value(lane) of all lanes combined in the order of a butterfly of shuffles, so that a kernel gets
/// the same bits from shuffles as from one meeting.
template <class Value, class Combine>
float butterfly(Value&& value, Combine&& combine) {
  float values[kWarpLanes];
  for (int lane = 0; lane < kWarpLanes; ++lane) values[lane] = value(lane);
  for (int distance = kWarpLanes / 2; distance > 0; distance /= 2) {
    for (int lane = 0; lane < distance; ++lane) {
      values[lane] = combine(values[lane], values[lane + distance]);
    }
  }
  return values[0];
}

float sum_of_two(float a, float b) { return a + b; }
float larger_of_two(float a, float b) { return std::fmax(a, b); }

}  // namespace

std::uint64_t Block::meet(Meeting kind, std::uint32_t mask, std::uint64_t value, int source,
                          Place place) {
  Thread& thread = *now.thread;
  const std::uint32_t own = 1u << thread.lane;
  if ((mask & own) == 0) {
    report(fmt::format("{}: lane {} is not in its own mask", where(place), thread.lane));
    return kNothing;
  }
  Warp& warp = warps_[thread.warp];
  Gathering& gathering = find(warp, mask);
  if (gathering.arrived == 0) {
    gathering = {mask, 0, kind, place};
  } else if (gathering.mask != mask || gathering.kind != kind ||
             gathering.place.line != place.line) {
    report(fmt::format("{}: lanes of one warp come to different places (also line {}) or masks",
                       where(place), gathering.place.line));
  }
  if (kind == Meeting::shuffle && (mask >> source & 1) == 0) {
    report(fmt::format("{}: lane {} reads lane {}, which is not in the mask", where(place),
                       thread.lane, source));
  }
  thread.value = value;
  thread.source = source;
  gathering.arrived |= own;
  if (gathering.arrived != mask) {
    wait(thread, Waits::at_meeting, place);
    return thread.result;
  }
  conclude(warp, thread.warp, gathering);
  return thread.result;
}

void Block::conclude(Warp& warp, int warp_index, Gathering& gathering) {
  Thread* const lanes = lanes_of(warp_index);
  const std::uint32_t mask = gathering.mask;
  gathering.arrived = 0;
  ++progress_;
  std::uint64_t common = 0;
  const auto brought = [&](int lane) { return from_bits<float>(lanes[lane].value); };
  switch (gathering.kind) {
    case Meeting::shuffle:
      break;
    case Meeting::ballot:
      for_lanes(mask, [&](int lane) { common |= lanes[lane].value << lane; });
      break;
    case Meeting::sum:
      common = to_bits(butterfly(brought, sum_of_two));
      break;
    case Meeting::max:
      common = to_bits(butterfly(brought, larger_of_two));
      break;
    case Meeting::mma:
      multiply_tiles(warp_index);
      break;
    case Meeting::sums:
      sum_all_values(warp_index);
      break;
    case Meeting::sync:
      // Only this orders accesses to memory: the others exchange registers.
      if ((mask & warp.alive) == warp.alive) ++warp.syncs;
      break;
  }
  for_lanes(mask, [&](int lane) {
    Thread& to = lanes[lane];
    to.result = gathering.kind != Meeting::shuffle ? common
                : (mask >> to.source & 1) != 0     ? lanes[to.source].value
                                                   : kNothing;
    to.waits = Waits::no;
  });
  set_ready(warp_index, mask);
}

// Lane l holds of A [16, 16] rows l/4 and l/4 + 8, of B [16, 8] column l/4, of D [16, 8] rows l/4
// and l/4 + 8 (PTX ISA, "Matrix fragments for mma.m16n8k16").
void Block::multiply_tiles(int warp_index) {
  const Thread* const lanes = lanes_of(warp_index);
  float a[16][16], b[16][8];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const MmaFragments& mine = *lanes[lane].fragments;
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int i = 0; i < 8; ++i) {
      a[group + i / 2 % 2 * 8][pair + i % 2 + i / 4 * 8] = half_of(mine.a[i / 2], i % 2, mine.f16);
    }
    for (int i = 0; i < 4; ++i) {
      b[pair + i % 2 + i / 2 * 8][group] = half_of(mine.b[i / 2], i % 2, mine.f16);
    }
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const MmaFragments& mine = *lanes[lane].fragments;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      float sum = mine.d[i];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      mine.d[i] = sum;
    }
  }
}

void Block::sum_all_values(int warp_index) {
  Thread* const lanes = lanes_of(warp_index);
  const auto count = static_cast<int>(lanes[0].value);
  float sums[kWarpLanes];
  for (int i = 0; i < count; ++i) {
    sums[i] = butterfly([&](int lane) { return lanes[lane].values[i]; }, sum_of_two);
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    lanes[lane].values[0] = sums[lane / (kWarpLanes / count)];
  }
}

std::uint64_t meet(Meeting kind, std::uint32_t mask, std::uint64_t value, int source, Place place) {
  return now.thread->block->meet(kind, mask, value, source, place);
}

void sum_lanes(float* values, int count, Place place) {
  now.thread->values = values;
  meet(Meeting::sums, ~0u, static_cast<std::uint64_t>(count), 0, place);
}

void multiply_tile(const MmaFragments& mine, Place place) {
  now.thread->fragments = &mine;
  meet(Meeting::mma, ~0u, 0, 0, place);
}

}  // namespace cuda_emulation
