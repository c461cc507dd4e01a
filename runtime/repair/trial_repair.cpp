#include "runtime/repair/trial_repair.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/device/error.h"
#include "model/hash.h"
#include "runtime/job/agreed_error.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/progress.h"
#include "runtime/repair/plan_output.h"
#include "runtime/report/output_file.h"

namespace spd {

TrialRepairs::TrialRepairs(RankContext& context, const EngineOptions& engine,
                           const std::vector<std::int32_t>& text,
                           const CalibrationOptions& calibration, std::filesystem::path folder)
    : context_(context),
      options_(engine),
      text_(text),
      calibration_(calibration),
      folder_(std::move(folder)) {
  setting_ = fmt::format("repairs fitted on text {} window {} windows {} {}", hash_ids(text),
                         calibration.window, calibration.windows, calibration.held_out);
  agree(context.comms, "making a folder for repairs", [&] {
    if (!context.root()) return;
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) throw_unwritable(folder_, error.value());
  });
}

std::filesystem::path TrialRepairs::file_of(const SyncLevels& levels) const {
  return folder_ / (hash_text(setting_ + levels.key()) + ".json");
}

std::filesystem::path TrialRepairs::plan_for(const SyncLevels& levels) {
  auto file = file_of(levels);
  const RankComms& comms = context_.comms;
  std::vector<std::int32_t> there{std::filesystem::exists(file) ? 1 : 0};
  if (broadcast_ids(comms, there).front() != 0) return file;

  // The levels alone, as a plan for the engine to load.
  const auto bare = file.string() + ".levels";
  agree(comms, "writing a plan to try", [&] {
    if (!context_.root()) return;
    const ModelConfig config = load_config(options_);
    SyncPlan plan = SyncPlan::all_full(config, comms.topology);
    plan.levels = levels;
    write_store(bare, plan.to_json(config));
  });
  EngineOptions engine_options = options_;
  engine_options.plan = bare;
  Engine engine(context_, engine_options, calibration_.window);
  std::optional<Progress> bar;
  SafePoints points(comms, engine.stream());
  RepairRunOptions options;
  options.partial = file.string() + ".partial";
  options.safe_point = [&] {
    const auto why = points.behind_long_step();
    if (!why) return;
    bar.reset();
    stop(*why, fmt::format("kept: repairs of plans tried so far, in {}", folder_.string()),
         "the same command goes on from there");
  };
  RepairRun run;
  if (levels.leaves_out()) {
    run =
        repair_plan(engine, text_, calibration_, options, [&](std::int64_t done, std::int64_t of) {
          if (!bar) bar.emplace("repairing", of, context_.root());
          bar->update(done);
        });
    bar.reset();
  }
  write_repaired_plan(context_, engine, run.ranks,
                      open_output(context_, "--out", file, OutputKind::regular));
  remove_partial(context_, options);
  return file;
}

SyncPlan TrialRepairs::plan_of(const SyncLevels& levels) {
  const auto from = plan_for(levels);
  SyncPlan plan;
  agree(context_.comms, "reading the repairs",
        [&] { plan = SyncPlan::load(from, load_config(options_), context_.comms.topology); });
  return plan;
}

void TrialRepairs::remove() {
  std::error_code ignored;
  if (context_.root()) std::filesystem::remove_all(folder_, ignored);
}

}  // namespace spd
