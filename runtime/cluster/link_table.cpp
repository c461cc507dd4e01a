#include "runtime/cluster/link_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <set>
#include <vector>

namespace spd {

namespace {

struct Column {
  std::string title;
  const LinkCurve* curve;
};

bool is_power_of_four(std::size_t bytes) {
  return std::has_single_bit(bytes) && std::countr_zero(bytes) % 2 == 0;
}

std::string table(const LinkModel& links, LinkGroup group, const char* title,
                  const std::vector<Column>& columns) {
  if (columns.empty()) return "";
  std::string text = fmt::format("\n{} of {} ({} ranks, {}), us\n  {:>8}", title, name(group),
                                 links.ranks(group), columns.front().curve->backend, "size");
  std::set<std::size_t> sizes;  // powers of four are enough to read
  for (const Column& column : columns) {
    text += fmt::format("  {:>22} {:>9}", column.title + " p50", "p99");
    for (const TimeSample& sample : column.curve->samples) {
      if (is_power_of_four(sample.bytes)) sizes.insert(sample.bytes);
    }
  }
  text += "\n";
  for (const std::size_t bytes : sizes) {
    text += fmt::format("  {:>8}", bytes_text(bytes));
    for (const Column& column : columns) {
      const auto& samples = column.curve->samples;
      const auto at =
          std::find_if(samples.begin(), samples.end(),
                       [bytes](const TimeSample& sample) { return sample.bytes == bytes; });
      text += at == samples.end() ? fmt::format("  {:>22} {:>9}", "-", "-")
                                  : fmt::format("  {:>22.1f} {:>9.1f}", at->p50_us, at->p99_us);
    }
    text += "\n";
  }
  return text;
}

}  // namespace

std::string bytes_text(std::size_t bytes) {
  constexpr double kKiB = 1024.0;
  const auto count = static_cast<double>(bytes);
  if (bytes >= 1u << 20) return fmt::format("{:.3g} MiB", count / kKiB / kKiB);
  if (bytes >= 1u << 10) return fmt::format("{:.3g} KiB", count / kKiB);
  return fmt::format("{} B", bytes);
}

std::string wires_table(const LinkModel& links, LinkGroup group) {
  std::vector<Column> columns;
  for (const LinkCurve& curve : links.curves()) {
    if (curve.group != group || curve.algorithm != LinkCurve::kAuto) continue;
    columns.push_back({std::string(name(curve.wire)), &curve});
  }
  return table(links, group, "all-reduce", columns);
}

std::string algorithms_table(const LinkModel& links, LinkGroup group) {
  std::vector<Column> columns;
  for (const LinkCurve& curve : links.curves()) {
    if (curve.group != group || curve.algorithm == LinkCurve::kAuto) continue;
    columns.push_back({curve.algorithm, &curve});
  }
  return table(links, group, "other ways, f32,", columns);
}

}  // namespace spd
