#include "runtime/repair/plan_repair.h"

#include <fmt/format.h>

#include "kernels/device/error.h"
#include "model/hash.h"
#include "model/json_object.h"
#include "runtime/repair/gather.h"
#include "runtime/report/output_file.h"

namespace spd {
namespace {

// One line that says what a run does: work of another kind must not be gone on with.
std::string settings_of(Engine& engine, const std::vector<std::int32_t>& tokens,
                        const CalibrationOptions& calibration, const BlockRepairOptions& block) {
  const SyncPlan& plan = engine.plan();
  return fmt::format(
      "model {} nodes {} partition {} levels {} text {} windows {} {} {} methods {} {} {} {} tau "
      "{} "
      "{} ks {} ridge {} {} worth {} copies {}",
      plan.fingerprint, nlohmann::json(plan.ranks_per_node).dump(),
      hash_text(plan.partition.to_json().dump()), hash_text(plan.levels.to_json().dump()),
      hash_ids(tokens), calibration.window, calibration.windows, calibration.held_out,
      block.grouping, block.placement, block.prediction, block.refit, block.thresholds.tau1,
      block.thresholds.tau2, nlohmann::json(block.ks).dump(), block.ridge, block.refit_ridge,
      block.worth, block.heads.kv_copies);
}

nlohmann::json to_json(const std::vector<BlockShard>& shards) {
  nlohmann::json json = nlohmann::json::array();
  for (const BlockShard& shard : shards) json.push_back(shard.to_json());
  return json;
}

std::vector<BlockShard> shards_from(const JsonObject& json) {
  std::vector<BlockShard> shards;
  for (const JsonObject& entry : json.objects("shards")) {
    shards.push_back(BlockShard::from_json(entry));
  }
  return shards;
}

BlockClass parse_block_class(const std::string& text) {
  for (const BlockClass one :
       {BlockClass::insensitive, BlockClass::sensitive, BlockClass::extreme}) {
    if (text == name(one)) return one;
  }
  throw Error(ErrorCode::input, fmt::format("unknown class \"{}\"", text));
}

BlockOutcome outcome_from(const JsonObject& json) {
  constexpr double kMostError = 1e100;
  BlockOutcome outcome;
  outcome.block = json.integer("block", 0);
  outcome.resumed = true;
  for (const JsonObject& entry : json.objects("points")) {
    PointOutcome point;
    point.point = entry.parsed("point", parse_sync_point);
    point.level = entry.parsed("level", parse_sync_level);
    point.block_class = entry.parsed("class", parse_block_class);
    for (const JsonObject& step : entry.objects("steps")) {
      point.steps.push_back({step.string("what"),
                             step.number_within("relative_error", 0.0, kMostError),
                             step.boolean("kept")});
    }
    outcome.points.push_back(std::move(point));
  }
  return outcome;
}

// The folder of finished blocks: block-3.json (settings, split, outcome) and block-3.safetensors.
class PartialWork {
 public:
  PartialWork(Engine& engine, std::filesystem::path folder, std::string settings)
      : engine_(engine), folder_(std::move(folder)), settings_(std::move(settings)) {}

  // The description of a finished block, the same on all ranks; null where it is not finished.
  nlohmann::json read(std::int64_t block) const {
    std::string text;
    agree(engine_.context().comms, "reading partial work", [&] {
      const auto file = path(block, "json");
      std::error_code error;
      if (folder_.empty() || !engine_.context().root() || !std::filesystem::exists(file, error)) {
        return;
      }
      const JsonObject json = JsonObject::load(file);
      json.check_keys({"settings", "shards", "block", "points"});
      if (json.string("settings") != settings_) {
        throw Error(ErrorCode::input,
                    fmt::format("{}: holds the work of another run", folder_.string()),
                    "remove the folder to start anew, or repeat the options of that run");
      }
      if (outcome_from(json).block != block || shards_from(json).empty()) {
        json.fail("block", "is not the one of the file's name, or it has no shards");
      }
      text = json.value().dump();
    });
    text = broadcast_text(engine_.context().comms, std::move(text));
    return text.empty() ? nlohmann::json() : nlohmann::json::parse(text);
  }

  void write(std::int64_t block, const BlockOutcome& outcome,
             const std::vector<BlockRepair>& repairs) const {
    if (folder_.empty()) return;
    agree(engine_.context().comms, "writing partial work", [&] {
      if (!engine_.context().root()) return;
      std::error_code error;
      std::filesystem::create_directories(folder_, error);
      if (error) throw_unwritable(folder_, error.value());
      std::vector<RankRepair> ranks;
      for (const BlockRepair& repair : repairs) {
        ranks.emplace_back(engine_.config().blocks);
        ranks.back()[block] = repair;
      }
      RepairFile::write(path(block, "safetensors"), engine_.plan(), ranks, DType::f32);
      nlohmann::json json = spd::to_json(outcome);
      json["settings"] = settings_;
      json["shards"] = to_json(engine_.plan().partition.blocks.at(block));
      write_store(path(block, "json"), json);
    });
  }

  // This rank's share of a finished block, whose split is in the engine already.
  BlockRepair load(std::int64_t block) const {
    BlockRepair repair;
    agree(engine_.context().comms, "reading partial work", [&] {
      repair = RepairFile(path(block, "safetensors"), engine_.plan(),
                          fmt::format("remove {} to start anew", folder_.string()))
                   .load(engine_.context().rank())[block];
    });
    return repair;
  }

 private:
  std::filesystem::path path(std::int64_t block, const char* extension) const {
    return folder_ / fmt::format("block-{}.{}", block, extension);
  }

  Engine& engine_;
  std::filesystem::path folder_;
  std::string settings_;
};

}  // namespace

nlohmann::json to_json(const BlockOutcome& outcome) {
  nlohmann::json points = nlohmann::json::array();
  for (const PointOutcome& point : outcome.points) {
    nlohmann::json steps = nlohmann::json::array();
    for (const RepairStep& step : point.steps) {
      steps.push_back({{"what", step.what}, {"relative_error", step.error}, {"kept", step.kept}});
    }
    points.push_back({{"point", name(point.point)},
                      {"level", name(point.level)},
                      {"class", name(point.block_class)},
                      {"methods", point.methods()},
                      {"relative_error_before", point.before()},
                      {"relative_error_after", point.after()},
                      {"steps", steps}});
  }
  return {{"block", outcome.block}, {"points", points}};
}

RepairRun repair_plan(Engine& engine, const std::vector<std::int32_t>& tokens,
                      const CalibrationOptions& calibration_options,
                      const RepairRunOptions& options,
                      const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const RankComms& comms = engine.context().comms;
  const SyncLevels& levels = engine.plan().levels;
  const std::int64_t blocks = engine.config().blocks;
  std::int64_t end = 0;
  for (std::int64_t block = 0; block < blocks; ++block) {
    if (levels.leaves_out(block)) end = block + 1;
  }
  std::optional<Calibration> calibration;
  agree(comms, "calibration", [&] { calibration.emplace(engine, tokens, calibration_options); });
  if (options.safe_point) calibration->set_safe_point(options.safe_point);
  const PartialWork partial(engine, options.partial,
                            settings_of(engine, tokens, calibration_options, options.block));
  RepairRun run;
  run.ranks.assign(comms.ranks(), RankRepair(blocks));
  for (std::int64_t block = 0; block < end; ++block) {
    if (progress) progress(block, end);
    if (levels.leaves_out(block)) {
      BlockRepair mine;
      BlockOutcome outcome;
      outcome.block = block;
      const nlohmann::json done = partial.read(block);
      if (!done.is_null()) {
        const JsonObject json = JsonObject::of(done, "partial work");
        outcome = outcome_from(json);
        engine.repartition(block, shards_from(json));
        calibration->renew_cache();
        mine = partial.load(block);
        install(mine, engine.transformer().shard().blocks[block], engine.operators(),
                fmt::format("block {}", block));
      } else {
        outcome.points = repair_block(engine, *calibration, levels, options.block, mine);
      }
      const auto all = gather_block_repairs(mine, comms, engine.stream());
      if (done.is_null()) partial.write(block, outcome, all);
      for (int rank = 0; rank < comms.ranks(); ++rank) run.ranks[rank][block] = all[rank];
      run.blocks.push_back(std::move(outcome));
    }
    if (block + 1 < end) calibration->advance(levels);
  }
  if (progress) progress(end, end);
  return run;
}

void remove_partial(const RankContext& context, const RepairRunOptions& options) {
  std::error_code ignored;
  if (context.root() && !options.partial.empty()) {
    std::filesystem::remove_all(options.partial, ignored);
  }
}

}  // namespace spd
