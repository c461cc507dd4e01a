// A plan and its repairs, which take the place of older ones as one.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "model/repair.h"
#include "runtime/inference/engine.h"
#include "runtime/report/output_file.h"

namespace spd {

/// Whether a plan is what a command was to make, or the command still works on it; the latter says
/// "complete": false.
enum class PlanState : std::uint8_t { done, under_way };

/// On the rank that writes. Repairs lie beside the plan under a name of their content, so that the
/// plan that is there stays whole until the new one, written last, takes its place. The old one's
/// repairs stay, for copies of that plan may name them from anywhere, and stderr says so; but those
/// of a plan under way are removed, unless another .json file beside it names them. `plan` may
/// refer to repairs in another folder: they are copied, and it refers to the copy then. `more`:
/// what else the file is to say. Returns what there is now, "p.json and p.1a2b3c4d.safetensors".
/// Throws system Error.
std::string write_plan(const OutputFile& out, SyncPlan& plan, const ModelConfig& config,
                       const nlohmann::json& more);

/// Writes the engine's plan, and the repairs of all `ranks` ([ranks], read on rank 0), if there are
/// any. All ranks call it alike; returns what was written, on rank 0.
std::string write_repaired_plan(const RankContext& context, const Engine& engine,
                                const std::vector<RankRepair>& ranks, const OutputFile& out,
                                PlanState state = PlanState::done);

/// For a command that has nothing to make up for: writes the engine's plan as it is to `out` and a
/// result of this kind without blocks to `results`, and says so. All ranks call it alike.
void pass_through(RankContext& context, Engine& engine, const char* kind, const OutputFile& out,
                  const OutputFile& results);

}  // namespace spd
