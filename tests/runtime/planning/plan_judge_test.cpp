// Joint losses against spd eval's own, on thread ranks.
#include "runtime/planning/plan_judge.h"

#include <gtest/gtest.h>

#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "runtime/evaluation/perplexity.h"
#include "tests/model/temp_dir.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

constexpr std::int64_t kWindow = 12;

std::vector<std::int32_t> some_text(std::int64_t windows) {
  std::vector<std::int32_t> text(windows * kWindow + 5);
  for (std::size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<std::int32_t>((i * 37 + i * i * 11) % 90);
  }
  return text;
}

SyncLevels dropped(std::int64_t blocks) {
  SyncLevels levels = SyncLevels::all_full(blocks);
  levels.level.attn.assign(blocks, SyncLevel::drop);
  return levels;
}

void on_two(const std::function<void(Engine&)>& body) {
  on_ranks({2, 1}, exact_options(fixture_model("llama")), kWindow, body);
}

PlanJudgeOptions options_of(std::int64_t windows, std::int64_t skip,
                            const std::filesystem::path& file = {}) {
  PlanJudgeOptions options;
  options.window = kWindow;
  options.windows = windows;
  options.skip = skip;
  options.file = file;
  return options;
}

// 20 windows, the first 2 skipped, 9 of the 18 behind them: every other one.
TEST(PlanJudge, MeasuresWhatEvaluationDoesOnWindowsSpreadOverTheText) {
  const auto text = some_text(20);
  on_two([&](Engine& engine) {
    const std::int64_t blocks = engine.config().blocks;
    PlanJudge held_out(engine.context().comms, text, options_of(9, 2), "x");
    ASSERT_EQ(held_out.windows(), 9);
    held_out.measure_full(engine);
    const PlanLoss loss = held_out.measure(engine, dropped(blocks));
    std::vector<std::int32_t> taken;
    for (std::int64_t window = 2; window < 20; window += 2) {
      taken.insert(taken.end(), text.begin() + window * kWindow,
                   text.begin() + (window + 1) * kWindow);
    }
    const auto expected = evaluate_text(engine, taken, {kWindow, kWindow, 0}, dropped(blocks),
                                        SyncLevels::all_full(blocks));
    EXPECT_NEAR(loss.nats, expected.plan.nll() - expected.baseline->nll(), 1e-9);
    EXPECT_NEAR(held_out.full_nll(), expected.baseline->nll(), 1e-9);
    EXPECT_EQ(loss.windows, 9);
    EXPECT_GT(loss.upper, loss.nats);
  });
}

TEST(PlanJudge, GivesUpOnAPlanThatIsClearlyBeyondTheBudget) {
  on_two([&](Engine& engine) {
    const std::int64_t blocks = engine.config().blocks;
    PlanJudge held_out(engine.context().comms, some_text(40), options_of(0, 0), "x");
    held_out.measure_full(engine);
    const PlanLoss early = held_out.measure(engine, dropped(blocks), -10.0);
    EXPECT_EQ(early.windows, 8);
    EXPECT_GT(early.lower, -10.0);
    EXPECT_EQ(held_out.measure(engine, dropped(blocks), 10.0).windows, 40);  // goes on from there
  });
}

TEST(PlanJudge, GoesOnFromItsFileAndRefusesAnothers) {
  const TempDir dir;
  const auto file = std::filesystem::path(dir.path()) / "plan.json.trials";
  const auto text = some_text(20);
  double first = 0.0;
  on_two([&](Engine& engine) {
    PlanJudge held_out(engine.context().comms, text, options_of(0, 0, file), "x");
    held_out.measure_full(engine);
    const double nats = held_out.measure(engine, dropped(engine.config().blocks)).nats;
    if (engine.context().root()) first = nats;
  });
  // As after an interruption: half of the plan's windows, one of them made up, so that it shows
  // which were taken from the file.
  nlohmann::json json = nlohmann::json::parse(std::ifstream(file));
  ASSERT_EQ(json["plan_nll_nats"].size(), 1u);
  auto& nll = json["plan_nll_nats"].front();
  ASSERT_EQ(nll.size(), 20u);
  nll.erase(nll.begin() + 10, nll.end());
  nll[3] = nll[3].get<double>() + 20.0;
  std::ofstream(file) << json;
  on_two([&](Engine& engine) {
    PlanJudge held_out(engine.context().comms, text, options_of(0, 0, file), "x");
    held_out.measure_full(engine);
    EXPECT_NEAR(held_out.measure(engine, dropped(engine.config().blocks)).nats, first + 1.0, 1e-9);
  });
  EXPECT_THROW(on_two([&](Engine& engine) {
                 PlanJudge(engine.context().comms, text, options_of(0, 0, file), "y");
               }),
               Error);
}

TEST(PlanJudge, RefusesATextThatIsTooShort) {
  EXPECT_THROW(on_two([&](Engine& engine) {
                 PlanJudge(engine.context().comms, some_text(4), options_of(0, 3), "x");
               }),
               Error);
}

}  // namespace
}  // namespace spd
