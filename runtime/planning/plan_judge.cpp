#include "runtime/planning/plan_judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "kernels/device/error.h"
#include "model/hash.h"
#include "model/json_object.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/job/agreed_error.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/progress.h"
#include "runtime/report/output_file.h"

namespace spd {
namespace {

constexpr const char* kSchema = "spd.plan-trials/1";
constexpr std::int64_t kChunk = 8;  // windows between looks at the clock, the budget and signals

}  // namespace

PlanJudge::PlanJudge(const RankComms& comms, const std::vector<std::int32_t>& text,
                     const PlanJudgeOptions& options, const std::string& setting)
    : options_(options), text_(text) {
  const std::int64_t window = options.window;
  const std::int64_t first = options.skip * window;
  const std::int64_t there = (static_cast<std::int64_t>(text.size()) - first) / window;
  if (there < 2) {
    throw AgreedError(ErrorCode::input,
                      fmt::format("the held-out text has {} tokens: behind the {} windows skipped "
                                  "there are not two of {}",
                                  text.size(), options.skip, window),
                      "give a longer text, or skip less");
  }
  const std::int64_t taken = options.windows > 0 ? std::min(options.windows, there) : there;
  for (std::int64_t i = 0; i < taken; ++i) begins_.push_back(first + (i * there / taken) * window);

  setting_ = fmt::format("{} text {} window {} windows {} skip {}", setting, hash_ids(text), window,
                         taken, options.skip);
  load(comms);
}

void PlanJudge::load(const RankComms& comms) {
  if (options_.file.empty()) return;
  std::string kept;
  agree(comms, "reading what was measured", [&] {
    std::error_code error;
    if (comms.rank != 0 || !std::filesystem::exists(options_.file, error)) return;
    kept = json_text(JsonObject::load(options_.file).value(), -1);
  });
  kept = broadcast_text(comms, std::move(kept));
  if (kept.empty()) return;
  agree(comms, "reading what was measured", [&] { take(nlohmann::json::parse(kept)); });
}

void PlanJudge::take(const nlohmann::json& kept) {
  constexpr double kMostNats = 1e100;
  const JsonObject json = JsonObject::of(kept, options_.file).advising("remove it to begin anew");
  json.check_schema(kSchema, "");
  json.check_keys({"schema", "setting", "full_nll_nats", "plan_nll_nats"});
  if (json.string("setting") != setting_) {
    json.fail("setting", "is not this search's: the file holds the trials of another search",
              "remove it to begin anew, or repeat that search's options");
  }
  full_ = json.numbers("full_nll_nats", -kMostNats, kMostNats);
  const JsonObject plans = json.object("plan_nll_nats");
  for (const auto& [levels, ignored] : plans.value().items()) {
    plans_[levels] = plans.numbers(levels, -kMostNats, kMostNats);
    if (plans_[levels].size() > begins_.size()) {
      plans.fail(levels, "has more windows than the text");
    }
  }
  if (full_.size() > begins_.size()) json.fail("full_nll_nats", "has more windows than the text");
}

void PlanJudge::save(const RankComms& comms) const {
  if (options_.file.empty()) return;
  agree(comms, "keeping what was measured", [&] {
    if (comms.rank != 0) return;
    write_store(options_.file, {{"schema", kSchema},
                                {"setting", setting_},
                                {"full_nll_nats", full_},
                                {"plan_nll_nats", plans_}});
  });
}

std::string PlanJudge::kept() const {
  if (options_.file.empty()) return "nothing was kept";
  return fmt::format("kept: what was measured, in {}", options_.file.string());
}

std::string PlanJudge::how_to_go_on() const {
  return options_.file.empty() ? "with --out a search can be gone on with"
                               : "the same command goes on from there";
}

void PlanJudge::extend(Engine& engine, const SyncLevels& levels, std::int64_t windows,
                       const char* what, Losses& losses) {
  const RankComms& comms = engine.context().comms;
  std::optional<Progress> bar;
  while (static_cast<std::int64_t>(losses.size()) < windows) {
    const auto done = static_cast<std::int64_t>(losses.size());
    std::vector<std::int32_t> tokens;
    for (std::int64_t i = done; i < std::min(done + kChunk, windows); ++i) {
      const auto begin = text_.begin() + begins_[i];
      tokens.insert(tokens.end(), begin, begin + options_.window);
    }
    std::optional<Interruption> why;
    const auto chunk =
        evaluate_text(engine, tokens, {options_.window, options_.window, 0}, levels, std::nullopt,
                      [&](std::int64_t window, std::int64_t, const TextScore& score) {
                        if (!bar) bar.emplace(what, this->windows(), engine.context().root());
                        bar->update(done + window, fmt::format("NLL {:.4f}", score.nll()));
                        why = find_interruption(comms, engine.stream());
                        return !why;
                      });
    losses.insert(losses.end(), chunk.window_nll.begin(), chunk.window_nll.end());
    save(comms);
    if (!why) continue;
    bar.reset();
    stop(*why, kept(), how_to_go_on());
  }
}

void PlanJudge::measure_full(Engine& engine) {
  extend(engine, SyncLevels::all_full(engine.config().blocks), windows(), "every sync full", full_);
}

double PlanJudge::full_nll() const {
  return std::accumulate(full_.begin(), full_.end(), 0.0) / static_cast<double>(full_.size());
}

PlanLoss PlanJudge::measure(Engine& engine, const SyncLevels& levels, double budget) {
  Losses& losses = plans_[levels.key()];
  const double error_rate = (1.0 - options_.confidence) / options_.trials;
  while (true) {
    const auto done = static_cast<std::int64_t>(losses.size());
    const PlanLoss loss = plan_loss(losses, std::span(full_).first(losses.size()), error_rate);
    if (done == windows() || (done > 1 && loss.lower > budget)) return loss;
    extend(engine, levels, std::min(done + kChunk, windows()), "joint loss", losses);
  }
}

}  // namespace spd
