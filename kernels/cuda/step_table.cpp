#include "kernels/cuda/step_table.h"

#include <algorithm>
#include <map>

namespace spd::cuda {

bool StepTable::is_last(std::span<const Segment> segments, std::int64_t row_count) const {
  return row_count == last_rows_ &&
         std::equal(segments.begin(), segments.end(), last_.begin(), last_.end(),
                    [](const Segment& a, const Segment& b) {
                      return a.row == b.row && a.length == b.length && a.slot == b.slot &&
                             a.position == b.position;
                    });
}

StepTable::Step StepTable::rows(std::span<const Segment> segments, std::int64_t row_count,
                                Stream& stream) {
  if (is_last(segments, row_count)) return {table_.as<StepRow>(), longest_};
  const std::size_t bytes = static_cast<std::size_t>(row_count) * sizeof(StepRow);
  Staging& staging = staging_[turn_];
  turn_ = 1 - turn_;
  if (!staging.copied) staging.copied = device_.make_event();
  staging.copied->synchronize();
  if (staging.memory.bytes() < bytes) staging.memory = HostBuffer(device_, 2 * bytes);
  if (table_.bytes() < bytes) table_ = Buffer(device_, 2 * bytes);
  auto* const rows = staging.memory.as<StepRow>();
  std::fill_n(rows, row_count, StepRow{});
  longest_ = 0;
  for (const Segment& s : segments) {
    for (std::int64_t i = 0; i < s.length; ++i) {
      rows[s.row + i] = {static_cast<std::int32_t>(s.slot),
                         static_cast<std::int32_t>(s.position + i)};
    }
    longest_ = std::max(longest_, s.position + s.length);
  }
  last_.assign(segments.begin(), segments.end());
  last_rows_ = row_count;
  if (bytes > 0) device_.upload(table_.data(), rows, bytes, stream);
  staging.copied->record(stream);
  return {table_.as<StepRow>(), longest_};
}

StepTable::Groups StepTable::groups(std::span<const std::int32_t> kv_head_of, Stream& stream) {
  const std::vector<std::int32_t> key(kv_head_of.begin(), kv_head_of.end());
  if (const auto found = maps_.find(key); found != maps_.end()) {
    const Map& map = found->second;
    return {map.buffer.as<HeadGroup>(), map.count, map.widest};
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
  const Map& kept = maps_.emplace(key, std::move(map)).first->second;
  return {kept.buffer.as<HeadGroup>(), kept.count, kept.widest};
}

}  // namespace spd::cuda
