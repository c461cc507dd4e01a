// The head of a result file: what was run on what.
#pragma once

#include <nlohmann/json.hpp>

#include "runtime/inference/engine.h"

namespace spd {

/// {"schema": "spd.KIND/1", "version", "model": {...}, "tp", "ranks_per_node", ...}: what every
/// result file begins with.
nlohmann::json result_header(const char* kind, Engine& engine);
/// {"full": n, "node": n, "drop": n, "bf16": n, "int8": n}: sync points by level and wire format.
nlohmann::json count_levels(const SyncLevels& levels);

}  // namespace spd
