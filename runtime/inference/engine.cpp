#include "runtime/inference/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/device/error.h"
#include "kernels/device/log.h"
#include "model/checkpoint/mapped_file.h"
#include "model/checkpoint/weight_check.h"
#include "model/repair.h"
#include "runtime/job/cpu_placement.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/machine_memory.h"
#include "runtime/job/progress.h"

namespace spd {

namespace {

/// Cut to the first blocks, where asked for.
ModelConfig cut(ModelConfig config, const EngineOptions& options) {
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

/// What a rank holds of random weights: its share, a whole embedding, the noise they are cut from.
double random_bytes(const ModelConfig& config, int ranks) {
  const std::int64_t longest =
      std::max({config.hidden, config.mlp, config.q_heads * config.head_dim, config.vocab});
  return weight_bytes(config) / ranks + embedding_bytes(config) +
         static_cast<double>(longest) * (sizeof(float) + size_of(config.dtype));
}

/// Lists of which head and which neuron is where, and a table of angles, [length, head_dim].
double table_bytes(const ModelConfig& config, std::int64_t length) {
  const double items = static_cast<double>(config.blocks) *
                       static_cast<double>(config.q_heads + config.mlp) * sizeof(std::int32_t);
  const double angles = config.rope ? static_cast<double>(length) *
                                          static_cast<double>(config.head_dim) * sizeof(float)
                                    : 0.0;
  return items + angles;
}

// Threads that have no core wait for each other at the end of every piece of work.
void warn_of_threads(int threads) {
  const int cores = allowed_processors();
  if (threads <= cores) return;
  warn_once(
      fmt::format("--threads {}: this process may run on {} processor{}; more threads than "
                  "that make it slow",
                  threads, cores, cores == 1 ? "" : "s"));
}

}  // namespace

ModelConfig load_config(const EngineOptions& options) {
  return cut(ModelConfig::load(options.model), options);
}

Engine::Engine(RankContext& context, const EngineOptions& options, std::int64_t max_length)
    : context_(context), options_(options) {
  CpuOptions placement;
  if (context.root()) warn_of_threads(options.threads);
  // Virtual ranks share the cores of one process: one unpinned thread each is as good as it gets.
  if (context.is_virtual) {
    placement.threads = std::max(1, options.threads);
  } else {
    placement = place_rank(context.comms, options.threads, options.pin);
  }
  if (options.exact) placement.products = MatmulMode::f32_by_token;
  name_reader(fmt::format("rank {}", context.rank()), !context.is_virtual);
  agree(context.comms, "loading the model", [&] {
    operators_ = make_cpu_operators(device_, placement);
    stream_ = device_.make_stream();
    load(max_length);
  });
}

void Engine::load(std::int64_t max_length) {
  const ModelConfig whole = ModelConfig::load(options_.model);
  config_ = cut(whole, options_);
  if (max_length > config_.max_positions) {
    throw Error(ErrorCode::usage,
                fmt::format("a sequence of {} tokens is beyond the model's context of {}",
                            max_length, config_.max_positions),
                "shorten the prompt or ask for fewer tokens");
  }
  // What the sizes are checked against comes before anything that is as large as they say.
  open_weights(whole.blocks, max_length == 0 ? config_.max_positions : max_length);
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
  if (options_.exact) check_exact(max_length);
  Shard shard = load_weights();
  install_repair(plan_, context_.rank(), shard, *operators_);
  TransformerOptions transformer;
  transformer.max_tokens = options_.batch_tokens;
  transformer.max_length = max_length;
  transformer_ = std::make_unique<Transformer>(config_, plan_.partition, std::move(shard),
                                               *operators_, context_.comms, transformer);
}

void Engine::open_weights(std::int64_t blocks_in_file, std::int64_t max_length) {
  const double tables = table_bytes(config_, max_length);
  const std::string what = "the model's weights and tables";
  if (options_.random_weights) {
    check_memory(context_, random_bytes(config_, context_.ranks()) + tables, what);
    source_ = make_random_source(config_, 1);
    return;
  }
  Checkpoint checkpoint = Checkpoint::open(options_.model);
  const CheckedWeights checked = check_weights(config_, checkpoint, blocks_in_file);
  if (context_.root()) {
    for (const std::string& note : checked.notes) warn_once(note);
  }
  check_memory(context_, checked.bytes / context_.ranks() + tables, what);
  source_ = make_checkpoint_source(std::move(checkpoint));
}

// What would make a token's result depend on the tokens beside it, or on other prompts.
void Engine::check_exact(std::int64_t max_length) const {
  if (!context_.sums_vary_with_size.empty()) {
    throw Error(ErrorCode::usage,
                fmt::format("--exact: all-reduces {} take sums in another order by size",
                            context_.sums_vary_with_size),
                "use algorithms of one order: --algo one_shot,scatter_gather:16384, without "
                "--intra mpi");
  }
  constexpr std::int64_t kBlock = 32;  // values that share a scale of int8
  if (plan_.levels.count(WireFormat::int8) > 0 && config_.hidden % kBlock != 0) {
    throw Error(
        ErrorCode::usage,
        fmt::format("--exact: the plan's int8 sums have blocks of {} values, and a token has "
                    "{}: blocks would hold several tokens",
                    kBlock, config_.hidden),
        "send them as f32 or bf16: --wire");
  }
  const bool dynamic = config_.rope && config_.rope->scaling == RopeScaling::dynamic;
  if (dynamic && max_length > config_.rope->original_max_positions) {
    throw Error(ErrorCode::usage,
                fmt::format("--exact: this model's positions scale with the longest sequence, here "
                            "{} tokens, beyond {}",
                            max_length, config_.rope->original_max_positions),
                "ask for shorter sequences, or one prompt at a time without --exact");
  }
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
                    [&](std::int64_t done, std::int64_t) {
                      stop_alone_if_interrupted(context_.comms, "loading");
                      progress.update(done);
                    });
}

std::unique_ptr<Transformer> Engine::make_unrepaired() {
  std::unique_ptr<Transformer> transformer;
  agree(context_.comms, "loading the model", [&] {
    transformer =
        std::make_unique<Transformer>(config_, plan_.partition, load_weights(), *operators_,
                                      context_.comms, transformer_->options());
  });
  return transformer;
}

KvCache Engine::make_cache(std::int64_t slots, std::int64_t capacity) {
  const std::int64_t longest = transformer_->options().max_length;
  if (capacity > longest) {
    throw Error(
        ErrorCode::usage,
        fmt::format("a sequence of {} tokens is beyond the context of {}", capacity, longest),
        "give shorter texts or windows");
  }
  agree(context_.comms, "making room for keys and values", [&] {
    const double bytes = 2.0 * static_cast<double>(config_.blocks) * static_cast<double>(slots) *
                         static_cast<double>(capacity) * static_cast<double>(config_.kv_heads) *
                         static_cast<double>(config_.head_dim) *
                         static_cast<double>(size_of(options_.kv_dtype)) / context_.ranks();
    check_memory(
        context_, static_cast<double>(transformer_->weight_bytes()) + bytes,
        fmt::format("weights, keys and values (of {} sequences of {} tokens)", slots, capacity));
  });
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
