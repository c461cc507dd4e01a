#include "kernels/cuda/step_table.h"

#include <algorithm>
#include <cstring>

#include "kernels/device/error.h"

namespace spd::cuda {

bool StepTable::is_last(std::span<const Segment> segments, std::int64_t row_count) const {
  return row_count == last_rows_ && std::equal(segments.begin(), segments.end(), last_.begin(),
                                               last_.end(), [](const Segment& a, const Segment& b) {
                                                 return a.row == b.row && a.length == b.length &&
                                                        a.slot == b.slot &&
                                                        a.position == b.position;
                                               });
}

std::vector<QueryTile> StepTable::fill(std::span<const Segment> segments, StepRow* rows) {
  constexpr std::int64_t kTileFrom = 16;  // rows that fill the tensor cores of one warp
  std::vector<QueryTile> tiles;
  step_ = {};
  for (const Segment& s : segments) {
    const bool tiled = s.length >= kTileFrom;
    step_.singles = step_.singles || (s.length > 0 && !tiled);
    step_.longest = std::max(step_.longest, s.position + s.length);
    for (std::int64_t i = 0; i < s.length; ++i) {
      rows[s.row + i] = {static_cast<std::int32_t>(s.slot),
                         static_cast<std::int32_t>(s.position + i), tiled ? 1 : 0};
    }
    for (std::int64_t i = 0; tiled && i < s.length; i += kPrefillTile) {
      tiles.push_back(
          {static_cast<std::int32_t>(s.row + i),
           static_cast<std::int32_t>(std::min<std::int64_t>(kPrefillTile, s.length - i)),
           static_cast<std::int32_t>(s.slot), static_cast<std::int32_t>(s.position + i)});
    }
  }
  return tiles;
}

StepTable::Step StepTable::rows(std::span<const Segment> segments, std::int64_t row_count,
                                Stream& stream) {
  if (is_last(segments, row_count)) return step_;
  if (CudaDevice::capturing(stream)) {
    throw Error(ErrorCode::internal,
                "a captured step has segments that begin_step() was not told before the capture");
  }
  Staging& staging = staging_[turn_];
  turn_ = 1 - turn_;
  if (!staging.copied) staging.copied = device_.make_event();
  staging.copied->synchronize();
  std::vector<StepRow> rows(row_count);
  const std::vector<QueryTile> tiles = fill(segments, rows.data());
  const std::size_t row_bytes = rows.size() * sizeof(StepRow);
  const std::size_t tiles_at =
      (row_bytes + alignof(QueryTile) - 1) / alignof(QueryTile) * alignof(QueryTile);
  const std::size_t bytes = tiles_at + tiles.size() * sizeof(QueryTile);
  // Never smaller than what decode steps need, so that graphs of them find it where it was.
  constexpr std::size_t kLeast = 16 << 10;
  const std::size_t room = std::max(2 * bytes, kLeast);
  if (staging.memory.bytes() < bytes || !staging.memory.as<void>()) {
    staging.memory = HostBuffer(device_, room);
  }
  if (table_.bytes() < bytes || !table_.data()) table_ = Buffer(device_, room);
  auto* const staged = staging.memory.as<std::byte>();
  std::memcpy(staged, rows.data(), row_bytes);
  if (!tiles.empty()) {
    std::memcpy(staged + tiles_at, tiles.data(), tiles.size() * sizeof(QueryTile));
  }
  if (bytes > 0) device_.upload(table_.data(), staged, bytes, stream);
  staging.copied->record(stream);
  last_.assign(segments.begin(), segments.end());
  last_rows_ = row_count;
  step_.rows = table_.as<StepRow>();
  step_.tiles = reinterpret_cast<const QueryTile*>(table_.as<std::byte>() + tiles_at);
  step_.tile_count = static_cast<int>(tiles.size());
  return step_;
}

StepTable::Groups StepTable::groups(std::span<const std::int32_t> kv_head_of, Stream& stream) {
  const std::vector<std::int32_t> key(kv_head_of.begin(), kv_head_of.end());
  if (const auto found = maps_.find(key); found != maps_.end()) {
    const Map& map = found->second;
    return {map.buffer.as<HeadGroup>(), map.count, map.widest, map.kv_head_of.as<std::int32_t>()};
  }
  std::map<std::int32_t, std::vector<std::int32_t>> readers;
  for (std::size_t head = 0; head < key.size(); ++head) {
    readers[key[head]].push_back(static_cast<std::int32_t>(head));
  }
  std::vector<HeadGroup> groups;
  Map map;
  for (const auto& [kv_head, heads] : readers) {
    for (std::size_t first = 0; first < heads.size(); first += kMostHeads) {
      HeadGroup group;
      group.kv_head = kv_head;
      group.count =
          static_cast<std::int32_t>(std::min<std::size_t>(kMostHeads, heads.size() - first));
      std::copy_n(heads.begin() + static_cast<std::ptrdiff_t>(first), group.count, group.heads);
      map.widest = std::max(map.widest, group.count);
      groups.push_back(group);
    }
  }
  map.count = static_cast<int>(groups.size());
  map.buffer = Buffer(device_, groups.size() * sizeof(HeadGroup));
  device_.upload(map.buffer.data(), groups.data(), groups.size() * sizeof(HeadGroup), stream);
  map.kv_head_of = Buffer(device_, key.size() * sizeof(std::int32_t));
  device_.upload(map.kv_head_of.data(), key.data(), key.size() * sizeof(std::int32_t), stream);
  const Map& kept = maps_.emplace(key, std::move(map)).first->second;
  return {kept.buffer.as<HeadGroup>(), kept.count, kept.widest, kept.kv_head_of.as<std::int32_t>()};
}

}  // namespace spd::cuda
