// A loaded model on one rank: weights, operators, plan; what every subcommand runs on.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device/cpu_device.h"
#include "model/kv_cache.h"
#include "model/sync_plan.h"
#include "model/transformer.h"
#include "runtime/job/launch.h"

namespace spd {

/// What to load and how; the command line's model options.
struct EngineOptions {
  std::filesystem::path model;
  std::filesystem::path plan;  ///< empty: every sync full
  RepairPaths repair_paths = RepairPaths::beside;
  std::vector<std::string> node;  ///< selections, e.g. "attn:0-29"
  std::vector<std::string> drop;
  std::vector<std::string> wire;  ///< formats and selections, e.g. "bf16=attn:all"
  int threads = 0;                ///< of a rank; 0: the node's cores shared by its ranks
  bool pin = true;
  /// Multiply in f32, and give a token the same bits in any batch and step; see MatmulMode.
  bool exact = false;
  DType kv_dtype = DType::f16;
  std::int64_t batch_tokens = 512;  ///< tokens of a prefill step
  bool random_weights = false;
  std::int64_t layers = 0;  ///< use only the first n blocks; 0: all
};

class Engine {
 public:
  /// Loads the model on every rank; all ranks call it alike. `max_length`: longest sequence to be
  /// run, 0: what the model allows. Throws AgreedError on every rank where one cannot.
  Engine(RankContext& context, const EngineOptions& options, std::int64_t max_length);

  RankContext& context() { return context_; }
  const ModelConfig& config() const { return config_; }
  const EngineOptions& options() const { return options_; }
  const SyncPlan& plan() const { return plan_; }
  Transformer& transformer() { return *transformer_; }
  const Transformer& transformer() const { return *transformer_; }
  Operators& operators() { return *operators_; }
  Stream& stream() { return *stream_; }

  /// Splits one block's heads and neurons over the ranks in another way: [ranks]. Its repairs are
  /// gone; caches made before are no longer for it. All ranks call it alike.
  void repartition(std::int64_t block, const std::vector<BlockShard>& shards);
  WeightSource& source() { return *source_; }
  /// The same model once more, without the plan's repairs: what a repaired one is compared with.
  std::unique_ptr<Transformer> make_unrepaired();

  /// A cache for this rank's heads. All ranks call it alike. Throws usage Error for a capacity
  /// beyond the model's positions, and on every rank system Error where a node has not the memory.
  KvCache make_cache(std::int64_t slots, std::int64_t capacity);

  /// A plan for this model, from a file. Throws input Error where its partition differs from the
  /// loaded one.
  SyncPlan load_plan(const std::filesystem::path& file) const;

 private:
  void load(std::int64_t max_length);
  void open_weights(std::int64_t blocks_in_file, std::int64_t max_length);
  void check_exact(std::int64_t max_length) const;
  Shard load_weights();

  RankContext& context_;
  EngineOptions options_;
  ModelConfig config_;
  SyncPlan plan_;
  CpuDevice device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Operators> operators_;
  std::unique_ptr<WeightSource> source_;
  std::unique_ptr<Transformer> transformer_;
};

/// The model's configuration, cut to the first `layers` blocks where asked for.
ModelConfig load_config(const EngineOptions& options);

}  // namespace spd
