#include "runtime/engine.h"

#include <fmt/format.h>

#include "kernels/device/error.h"
#include "model/repair.h"
#include "runtime/cpu_placement.h"
#include "runtime/progress.h"

namespace spd {

ModelConfig load_config(const EngineOptions& options) {
  ModelConfig config = ModelConfig::load(options.model);
  if (options.layers == 0) return config;
  if (options.layers < 0 || options.layers > config.blocks) {
    throw Error(ErrorCode::usage,
                fmt::format("--layers {}: the model has {} blocks", options.layers, config.blocks),
                fmt::format("use 1 to {}", config.blocks));
  }
  config.blocks = options.layers;
  config.window_of_block.resize(config.blocks);
  return config;
}

Engine::Engine(RankContext& context, const EngineOptions& options, std::int64_t max_length)
    : context_(context), options_(options) {
  const auto begin = std::chrono::steady_clock::now();
  CpuOptions placement;
  // Virtual ranks share the cores of one process: one unpinned thread each is as good as it gets.
  if (context.is_virtual) {
    placement.threads = std::max(1, options.threads);
  } else {
    placement = place_rank(context.comms, options.threads, options.pin);
  }
  if (options.exact) placement.products = CpuProducts::f32;
  agree(context.comms, "loading the model", [&] {
    operators_ = make_cpu_operators(device_, placement);
    stream_ = device_.make_stream();
    load(max_length);
  });
  load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void Engine::load(std::int64_t max_length) {
  config_ = load_config(options_);
  const Topology& topology = context_.comms.topology;
  plan_ = options_.plan.empty()
              ? SyncPlan::all_full(config_, topology)
              : SyncPlan::load(options_.plan, config_, topology, options_.repair_paths);
  for (const auto& selection : options_.node) {
    apply_selection("--node", selection, SyncLevel::node, plan_.levels);
  }
  for (const auto& selection : options_.drop) {
    apply_selection("--drop", selection, SyncLevel::drop, plan_.levels);
  }
  for (const auto& selection : options_.wire) {
    apply_wire_selection("--wire", selection, plan_.levels);
  }
  plan_.levels.validate(config_.blocks);
  if (max_length > config_.max_positions) {
    throw Error(ErrorCode::usage,
                fmt::format("a sequence of {} tokens is beyond the model's context of {}",
                            max_length, config_.max_positions),
                "shorten the prompt or ask for fewer tokens");
  }
  source_ = options_.random_weights ? make_random_source(config_, 1)
                                    : make_checkpoint_source(Checkpoint::open(options_.model));
  Shard shard = load_weights();
  install_repair(plan_, context_.rank(), shard, *operators_);
  TransformerOptions transformer;
  transformer.max_tokens = options_.batch_tokens;
  transformer.max_length = max_length;
  transformer_ = std::make_unique<Transformer>(config_, plan_.partition, std::move(shard),
                                               *operators_, context_.comms, transformer);
}

void Engine::repartition(std::int64_t block, const std::vector<BlockShard>& shards) {
  agree(context_.comms, "loading a block", [&] {
    plan_.partition.blocks.at(block) = shards;
    plan_.partition.validate(config_);
    transformer_->replace_block(
        block, load_block(config_, block, shards.at(context_.rank()), *source_, *operators_));
  });
}

Shard Engine::load_weights() {
  Progress progress("loading", config_.blocks, context_.root());
  return load_shard(config_, plan_.partition, context_.rank(), *source_, *operators_,
                    [&](std::int64_t done, std::int64_t) { progress.update(done); });
}

std::unique_ptr<Transformer> Engine::make_unrepaired() {
  return std::make_unique<Transformer>(config_, plan_.partition, load_weights(), *operators_,
                                       context_.comms, transformer_->options());
}

KvCache Engine::make_cache(std::int64_t slots, std::int64_t capacity) {
  const std::int64_t longest = transformer_->options().max_length;
  if (capacity > longest) {
    throw Error(ErrorCode::usage, fmt::format("a sequence of {} tokens is beyond the context of {}",
                                              capacity, longest));
  }
  return KvCache(device_, config_, plan_.partition, context_.rank(),
                 {slots, capacity, options_.kv_dtype});
}

SyncPlan Engine::load_plan(const std::filesystem::path& file) const {
  SyncPlan plan = SyncPlan::load(file, config_, context_.comms.topology, options_.repair_paths);
  if (!(plan.partition == plan_.partition)) {
    throw Error(ErrorCode::input,
                fmt::format("{}: its partition differs from the loaded plan's", file.string()),
                "compare plans of one partition, or run them separately");
  }
  return plan;
}

}  // namespace spd
