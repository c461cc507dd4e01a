// The printed table says what was measured, curve by curve and size by size.
#include "runtime/cluster/link_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>

namespace spd {
namespace {

/// Samples as a probe makes them: powers of two, and sizes of the curve's own between them. A time
/// says which curve and size it belongs to.
LinkCurve curve(WireFormat wire, const std::string& algorithm, int number,
                const std::vector<std::size_t>& sizes) {
  LinkCurve curve{LinkGroup::cross, wire, algorithm, "ucx", {}, {{0, 1.0, 0.001}}};
  for (const std::size_t bytes : sizes) {
    const double p50 = 1000.0 * number + static_cast<double>(bytes) / 1024;
    curve.samples.push_back({bytes, p50, p50 + 0.5, p50 + 1});
  }
  return curve;
}

/// [size as printed]: the cells of its line.
std::map<std::string, std::vector<std::string>> lines_of(const std::string& table) {
  std::map<std::string, std::vector<std::string>> lines;
  std::istringstream text(table);
  std::string line;
  std::getline(text, line);  // blank
  std::getline(text, line);  // title
  std::getline(text, line);  // columns
  while (std::getline(text, line)) {
    std::istringstream cells(line);
    std::string number, unit;
    cells >> number >> unit;
    auto& row = lines[number + " " + unit];
    for (std::string cell; cells >> cell;) row.push_back(cell);
  }
  return lines;
}

TEST(LinkTable, LooksUpEveryCurvesOwnSizes) {
  const LinkModel links(
      {2, 2}, {curve(WireFormat::f32, "auto", 1, {256, 384, 1024, 1408, 1536, 4096, 16384}),
               curve(WireFormat::bf16, "auto", 2, {256, 1024, 2816, 4096}),
               curve(WireFormat::int8, "auto", 3, {256, 384, 512, 768, 1024, 4096, 5120, 16384}),
               curve(WireFormat::f32, "ring", 4, {256, 1024, 4096})});
  using Cells = std::vector<std::string>;
  EXPECT_EQ(lines_of(wires_table(links, LinkGroup::cross)),
            (std::map<std::string, Cells>{
                {"256 B", {"1000.2", "1000.8", "2000.2", "2000.8", "3000.2", "3000.8"}},
                {"1 KiB", {"1001.0", "1001.5", "2001.0", "2001.5", "3001.0", "3001.5"}},
                {"4 KiB", {"1004.0", "1004.5", "2004.0", "2004.5", "3004.0", "3004.5"}},
                {"16 KiB", {"1016.0", "1016.5", "-", "-", "3016.0", "3016.5"}}}));
  EXPECT_EQ(lines_of(algorithms_table(links, LinkGroup::cross)).at("4 KiB"),
            (Cells{"4004.0", "4004.5"}));
  EXPECT_EQ(wires_table(links, LinkGroup::node), "");
}

TEST(LinkTable, BytesHaveUnits) {
  EXPECT_EQ(bytes_text(640), "640 B");
  EXPECT_EQ(bytes_text(1408), "1.38 KiB");
  EXPECT_EQ(bytes_text(4 << 20), "4 MiB");
}

}  // namespace
}  // namespace spd
