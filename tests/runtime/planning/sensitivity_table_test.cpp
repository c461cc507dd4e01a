// Tables of sensitivities as files: what is taken, and what is refused by key.
#include "runtime/planning/sensitivity_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

using Json = nlohmann::json;

Json good_table() {
  SensitivityTable table;
  table.header = {{"schema", "spd.sensitivity/1"}, {"tp", 2}};
  table.tokens = {2147483647, 2147483647};
  table.base_nll_sum = {3.0, 5.0};
  for (std::int64_t block = 0; block < 2; ++block) {
    SensitivityEntry entry;
    entry.block = block;
    entry.windows = {{1.0, 2.0}, {3.0, 4.0}};
    table.entries.push_back(entry);
  }
  return table.to_json();
}

TEST(SensitivityTable, ComesBackAsItWasWritten) {
  const TempDir dir;
  const auto table = SensitivityTable::load(dir.write("s.json", good_table().dump()));
  EXPECT_EQ(table.to_json(), good_table());
  EXPECT_NEAR(table.base_nll(), 8.0 / (2.0 * 2147483647.0), 1e-18);
  table.check_blocks(2);
  expect_input_error([&] { table.check_blocks(1); }, {"block 1"});
}

TEST(SensitivityTable, NamesTheKeyThatIsWrong) {
  struct Case {
    const char* place;
    Json value;
    const char* says;
  };
  const TempDir dir;
  for (const auto& [place, value, says] : std::vector<Case>{
           {"/schema", "spd.sensitivity/2", "schema"},
           {"/window_tokens_scored",
            {9223372036854775807LL, 9223372036854775807LL},
            "window_tokens_scored"},
           {"/window_tokens_scored", {1e308, 2}, "window_tokens_scored"},
           {"/window_tokens_scored", {511.5, 2}, "window_tokens_scored"},
           {"/window_tokens_scored", {-1, 2}, "window_tokens_scored"},
           {"/window_tokens_scored", Json::array({2}), "window_nll_sum_nats is of 2 windows"},
           {"/window_nll_sum_nats", {1e308, 1e308}, "window_nll_sum_nats"},
           {"/window_nll_sum_nats", {nullptr, 1}, "window_nll_sum_nats"},
           {"/entrys", 5, "\"entrys\" is unknown (did you mean \"entries\"?)"},
           {"/entries/1/levle", "drop", "entries[1].\"levle\" is unknown"},
           {"/entries", 5, "entries"},
           {"/entries/0", 5, "entries"},
           {"/entries/1/block", 0, "entries[1] is of the same sync point"},
           {"/entries/1/block", -1, "entries[1].block"},
           {"/entries/1/block", 4294967297LL, "entries[1].block"},
           {"/entries/1/block", 0.5, "entries[1].block"},
           {"/entries/1/form", "third", "entries[1].form"},
           {"/entries/1/point", 3, "entries[1].point"},
           {"/entries/1/level", "half", "entries[1].level"},
           {"/entries/1/wire", "fp4", "entries[1].wire"},
           {"/entries/1/repaired", 1, "entries[1].repaired"},
           {"/entries/1/repair_share_of_block", -1, "entries[1].repair_share_of_block"},
           {"/entries/1/window_total_rise_sum_nats",
            {1, 2, 3},
            "entries[1].window_total_rise_sum_nats"},
           {"/entries/1/window_own_rise_squares_nats2",
            {1, -2},
            "entries[1].window_own_rise_squares_nats2"}}) {
    Json bad = good_table();
    bad[Json::json_pointer(place)] = value;
    const auto file = dir.write("s.json", bad.dump());
    expect_input_error([&, f = file] { SensitivityTable::load(f); }, {"s.json: ", says});
  }
  expect_input_error([&] { SensitivityTable::load(dir.path()); }, {"directory"});
  expect_input_error([&] { SensitivityTable::load(dir.write("s.json", std::string(100000, '['))); },
                     {"s.json"});
}

}  // namespace
}  // namespace spd
