#include "runtime/trial_repair.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/device/error.h"
#include "model/hash.h"
#include "runtime/agreed_error.h"
#include "runtime/interrupt.h"
#include "runtime/output_file.h"
#include "runtime/progress.h"

namespace spd {
namespace {

bool leaves_out(const SyncLevels& levels) {
  return levels.count(SyncLevel::drop) + levels.count(SyncLevel::node) > 0;
}

}  // namespace

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
    if (error) {
      throw Error(ErrorCode::system,
                  fmt::format("{}: cannot be made: {}", folder_.string(), error.message()),
                  "check --out");
    }
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
    write_json_file("--out", bare, plan.to_json(config));
  });
  EngineOptions engine_options = options_;
  engine_options.plan = bare;
  Engine engine(context_, engine_options, calibration_.window);
  RepairRunOptions options;
  options.partial = file.string() + ".partial";
  std::optional<Progress> bar;
  RepairRun run;
  if (leaves_out(levels)) {
    run =
        repair_plan(engine, text_, calibration_, options, [&](std::int64_t done, std::int64_t of) {
          if (!bar) bar.emplace("repairing", of, context_.root());
          bar->update(done);
          if (!any_interrupted(comms, engine.stream())) return;
          bar.reset();
          throw AgreedError(
              ErrorCode::system, "interrupted while a plan was being repaired",
              fmt::format("what was done is in {}: the same command goes on from there",
                          folder_.string()));
        });
    bar.reset();
  }
  write_repaired_plan(context_, engine, run.ranks, file);
  return file;
}

SyncPlan TrialRepairs::keep(const SyncLevels& levels, const std::filesystem::path& out) {
  const auto from = plan_for(levels);
  SyncPlan plan;
  agree(context_.comms, "keeping the repairs", [&] {
    plan = SyncPlan::load(from, load_config(options_), context_.comms.topology);
    if (!plan.repair) return;
    const auto made = plan.repair->file;
    plan.repair->file = std::filesystem::path(out).replace_extension(".safetensors");
    if (!context_.root()) return;
    std::error_code error;
    std::filesystem::copy_file(made, plan.repair->file,
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) {
      throw Error(ErrorCode::system,
                  fmt::format("{}: {}", plan.repair->file.string(), error.message()),
                  "check that --out's folder has space");
    }
  });
  return plan;
}

void TrialRepairs::remove() {
  std::error_code ignored;
  if (context_.root()) std::filesystem::remove_all(folder_, ignored);
}

}  // namespace spd
