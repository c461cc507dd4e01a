#include "runtime/distillation/distill_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "model/json_object.h"
#include "runtime/job/agreed_error.h"
#include "runtime/repair/gather.h"
#include "runtime/repair/plan_output.h"

namespace spd {
namespace {

// A launcher that is told to end kills its ranks a second later: what is to be lost then is little.
// But gathering and writing all repairs of a large model takes a while, of which a twentieth of the
// time may be spent.
constexpr std::chrono::duration<double> kWriteEvery{1.0};
constexpr double kWorkToWriting = 20.0;

bool same_weights(const BlockRepair& a, const BlockRepair& b) {
  return std::equal(a.weights.begin(), a.weights.end(), b.weights.begin(), b.weights.end(),
                    [](const auto& one, const auto& other) {
                      return one.first == other.first && one.second.values == other.second.values;
                    });
}

}  // namespace

DistillCheckpoint::DistillCheckpoint(Engine& engine, RepairFiles files)
    : engine_(engine),
      files_(std::move(files)),
      plan_(engine.plan()),
      points_(engine.context().comms, engine.stream()) {
  agree(engine.context().comms, "reading the repairs", [&] {
    repair = load(plan_);
    for (const std::string& file : files_.merge) take(file, "--merge");
    const std::string out = files_.out.file().string();
    if (files_.resume && std::filesystem::exists(out)) take(out, "--resume");
  });
  for (std::size_t block = 0; block < repair.size(); ++block) {
    install(repair[block], engine.transformer().shard().blocks.at(block), engine.operators(),
            fmt::format("block {} rank {}", block, engine.context().rank()));
  }
}

bool DistillCheckpoint::due() {
  stop_ = points_.behind_step();
  // The root's clock decides for all.
  const auto since = std::chrono::steady_clock::now() - written_;
  char now = since > std::max(kWriteEvery, kWorkToWriting * writing_took_) ? 1 : 0;
  engine_.context().comms.world->broadcast(&now, sizeof now, 0, engine_.stream(), {"repair"});
  return stop_ || now != 0;
}

void DistillCheckpoint::stop_if_interrupted() {
  if (!stop_) return;
  stop(*stop_, fmt::format("kept: what was done, in {}", files_.out.file().string()),
       "the same command with --resume goes on from there");
}

void DistillCheckpoint::stop_between() {
  stop_ = points_.behind_step();
  if (!stop_) return;
  if (unwritten_) write();
  if (!wrote_) stop(*stop_, "no block was done yet", "the same command begins anew");
  stop_if_interrupted();
}

void DistillCheckpoint::take(std::int64_t first, std::int64_t last, const RankRepair& trained) {
  for (std::int64_t block = first; block < last; ++block) repair.at(block) = trained.at(block);
  unwritten_ = true;
}

std::int64_t DistillCheckpoint::windows_done(const std::string& settings) const {
  const RankContext& context = engine_.context();
  std::vector<std::int32_t> done = {0};
  agree(context.comms, "reading what was done", [&] {
    if (!context.root() || !files_.resume) return;
    std::error_code error;
    if (!std::filesystem::exists(progress_file(), error)) return;
    const JsonObject json = JsonObject::load(progress_file());
    json.check_keys({"settings", "windows"});
    if (json.string("settings") != settings) {
      json.fail("settings", "are of another run",
                "repeat that run's options, or remove the file and --out's to start anew");
    }
    done = {static_cast<std::int32_t>(json.integer("windows", 0))};
  });
  return broadcast_ids(context.comms, std::move(done)).front();
}

void DistillCheckpoint::write_progress(const std::string& settings, std::int64_t windows) {
  write();
  agree(engine_.context().comms, "writing what was done", [&] {
    if (engine_.context().root()) {
      write_store(progress_file(), {{"settings", settings}, {"windows", windows}});
    }
  });
}

void DistillCheckpoint::remove_progress() const {
  std::error_code ignored;
  if (engine_.context().root()) std::filesystem::remove(progress_file(), ignored);
}

std::string DistillCheckpoint::write(PlanState state) {
  const auto begin = std::chrono::steady_clock::now();
  const RankContext& context = engine_.context();
  std::string written = write_repaired_plan(
      context, engine_, gather_repairs(repair, context.comms, engine_.stream()), files_.out, state);
  written_ = std::chrono::steady_clock::now();
  writing_took_ = written_ - begin;
  wrote_ = true;
  unwritten_ = false;
  return written;
}

RankRepair DistillCheckpoint::load(const SyncPlan& plan) const {
  if (!plan.repair) return RankRepair(engine_.config().blocks);
  return RepairFile(plan.repair->file, plan).load(engine_.context().rank());
}

void DistillCheckpoint::take(const std::string& file, const char* flag) {
  const SyncPlan other = engine_.load_plan(file);
  if (!(other.levels == plan_.levels)) {
    throw Error(ErrorCode::input,
                fmt::format("{} {}: its levels differ from the plan's", flag, file),
                "give a plan that was distilled from the same --plan");
  }
  RankRepair from = load(other);
  const RankRepair begin = load(plan_);
  for (std::size_t block = 0; block < from.size(); ++block) {
    if (same_weights(from[block], begin[block])) continue;
    repair[block] = std::move(from[block]);
    trained_.insert(static_cast<std::int64_t>(block));
  }
}

}  // namespace spd
