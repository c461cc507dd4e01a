#include "runtime/inference/result_header.h"

#include <fmt/format.h>

#include "model/fingerprint.h"

namespace spd {

nlohmann::json count_levels(const SyncLevels& levels) {
  return {{"full", levels.count(SyncLevel::full)},
          {"node", levels.count(SyncLevel::node)},
          {"drop", levels.count(SyncLevel::drop)},
          {"bf16", levels.count(WireFormat::bf16)},
          {"int8", levels.count(WireFormat::int8)}};
}

nlohmann::json result_header(const char* kind, Engine& engine) {
  const RankContext& context = engine.context();
  const ModelConfig& config = engine.config();
  return {{"schema", fmt::format("spd.{}/1", kind)},
          {"version", SPD_VERSION},
          {"model",
           {{"path", engine.options().model.string()},
            {"architecture", config.architecture},
            {"fingerprint", fingerprint(config)},
            {"blocks", config.blocks}}},
          {"tp", context.ranks()},
          {"ranks_per_node", context.comms.topology.ranks_per_node()},
          {"virtual", context.is_virtual},
          {"backend", context.comms.world->backend()},
          {"device", engine.operators().device().name()},
          {"threads_per_rank", engine.operators().parallelism()},
          {"syncs", count_levels(engine.plan().levels)}};
}

}  // namespace spd
