// Sensitivities against whole forward passes, as spd eval makes them.
#include "runtime/planning/sensitivity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <numeric>

#include "kernels/device/error.h"
#include "tests/model/temp_dir.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

constexpr std::int64_t kWindow = 12;

std::vector<std::int32_t> some_text(std::int64_t vocab, std::size_t tokens) {
  std::vector<std::int32_t> text(tokens);
  for (std::size_t i = 0; i < tokens; ++i) {
    text[i] = static_cast<std::int32_t>((i * 37 + i * i * 11) % static_cast<std::size_t>(vocab));
  }
  return text;
}

SensitivityOptions everything() {
  SensitivityOptions options;
  options.windows = {kWindow, 10, 5};
  options.forms = {SensitivityForm::single, SensitivityForm::backward};
  options.wires = {WireFormat::int8};
  return options;
}

EngineOptions engine_options(std::int64_t batch_tokens) {
  EngineOptions options = exact_options(fixture_model("llama"));
  options.batch_tokens = batch_tokens;
  return options;
}

// The table of rank 0, with windows measured `batch_tokens` at a time; stops after `stop` items.
SensitivityTable measure(const LaunchOptions& launch, std::int64_t batch_tokens,
                         SensitivityTable table = {}, int stop = 1 << 30) {
  SensitivityTable result;
  std::mutex mutex;
  on_ranks(launch, engine_options(batch_tokens), kWindow, [&](Engine& engine) {
    const auto text = some_text(engine.config().vocab, 60);
    const auto options = everything();
    SensitivityTable mine = table;
    if (mine.entries.empty()) {
      mine.entries =
          sensitivity_items(options, engine.config().blocks, engine.context().comms.topology);
    }
    int left = stop;
    measure_sensitivity(engine, text, options, mine,
                        [&](std::int64_t, std::int64_t) { return --left > 0; });
    const std::lock_guard lock(mutex);
    if (engine.context().root()) result = mine;
  });
  return result;
}

LaunchOptions ranks(int count, int nodes) {
  LaunchOptions launch;
  launch.virtual_ranks = count;
  launch.virtual_nodes = nodes;
  return launch;
}

void expect_same(const SensitivityTable& a, const SensitivityTable& b) {
  ASSERT_EQ(a.entries.size(), b.entries.size());
  EXPECT_NEAR(a.base_nll(), b.base_nll(), 1e-6);
  for (std::size_t i = 0; i < a.entries.size(); ++i) {
    EXPECT_NEAR(a.own_rise(a.entries[i]).nats, b.own_rise(b.entries[i]).nats, 1e-6) << i;
    EXPECT_NEAR(a.own_rise(a.entries[i]).standard_error, b.own_rise(b.entries[i]).standard_error,
                1e-6)
        << i;
  }
}

TEST(Sensitivity, IsWhatWholePassesGive) {
  const SensitivityTable table = measure(ranks(4, 2), 24);
  ASSERT_TRUE(table.complete());
  ASSERT_EQ(table.tokens.size(), 5u);
  // Drop, node at both points, int8 at both, in two forms; the last mlp sync is only rounded.
  const std::int64_t blocks = ModelConfig::load(fixture_model("llama")).blocks;
  ASSERT_EQ(table.entries.size(),
            static_cast<std::size_t>(2 * (2 * (2 * blocks - 1) + 2 * blocks)));
  double largest = 0.0;
  on_ranks(ranks(4, 2), engine_options(24), kWindow, [&](Engine& engine) {
    const auto text = some_text(engine.config().vocab, 60);
    const SyncLevels full = SyncLevels::all_full(blocks);
    for (const SensitivityEntry& entry : table.entries) {
      SyncLevels levels = full;
      const bool backward = entry.form == SensitivityForm::backward;
      for (std::int64_t b = entry.block; b < (backward ? blocks : entry.block + 1); ++b) {
        if (!(entry.point == SyncPoint::mlp && b + 1 == blocks))
          levels.at(b, entry.point) = entry.level;
        levels.wire_at(b, entry.point) = entry.wire;
      }
      const auto whole = evaluate_text(engine, text, everything().windows, levels, full);
      const double rise = whole.plan.nll() - whole.baseline->nll();
      if (!engine.context().root()) continue;
      EXPECT_NEAR(table.total_rise(entry), rise, 2e-6)
          << name(entry.form) << ' ' << name(entry.point) << ' ' << entry.block << ' '
          << name(entry.level) << ' ' << name(entry.wire);
      largest = std::max(largest, std::abs(rise));
    }
  });
  EXPECT_GT(largest, 1e-3);  // or the above says nothing
}

TEST(Sensitivity, OwnRisesOfABackwardPassAddUp) {
  const SensitivityTable table = measure(ranks(3, 1), 64);
  double sum = 0.0;
  for (const SensitivityEntry& entry : table.entries) {
    if (entry.form == SensitivityForm::backward && entry.level == SyncLevel::drop &&
        entry.point == SyncPoint::attn) {
      sum += table.own_rise(entry).nats;
    }
  }
  const auto* first =
      table.find(SensitivityForm::backward, SyncPoint::attn, 0, SyncLevel::drop, WireFormat::f32);
  ASSERT_TRUE(first);
  EXPECT_NEAR(sum, table.total_rise(*first), 1e-12);
}

TEST(Sensitivity, DoesNotDependOnHowManyWindowsAStepTakes) {
  expect_same(measure(ranks(2, 1), kWindow), measure(ranks(2, 1), 60));
}

TEST(Sensitivity, GoesOnWhereItWasStopped) {
  const SensitivityTable whole = measure(ranks(2, 1), 24);
  for (const int stop : {1, 7, 20, 33}) {
    const SensitivityTable part = measure(ranks(2, 1), 24, {}, stop);
    EXPECT_FALSE(part.complete());
    // By way of the file, and with another number of windows a step.
    TempDir dir;
    SensitivityTable written = part;
    written.header = {{"schema", "spd.sensitivity/1"}};
    const auto file = dir.write("s.json", written.to_json().dump());
    expect_same(measure(ranks(2, 1), stop == 7 ? 60 : 24, SensitivityTable::load(file)), whole);
  }
}

TEST(Sensitivity, LeavesOutNodeWhereItIsAnotherLevel) {
  SensitivityOptions options;
  for (const auto& [count, nodes, expected] :
       {std::tuple{2, 1, 2 * 4 - 1}, {2, 2, 2 * 4 - 1}, {3, 2, 2 * (2 * 4 - 1)}}) {
    EXPECT_EQ(sensitivity_items(options, 4, Topology::contiguous(count, nodes)).size(),
              static_cast<std::size_t>(expected))
        << count << " on " << nodes;
  }
}

TEST(Sensitivity, RefusesAShortText) {
  EXPECT_EQ(whole_windows(40, {12, 10, 0}), 3);
  EXPECT_EQ(whole_windows(40, {12, 10, 2}), 2);
  EXPECT_THROW(whole_windows(11, {12, 12, 0}), Error);
}

}  // namespace
}  // namespace spd
