// Teaching a model whose syncs are left out to do what it did with all of them: block by block
// (arXiv 2502.20727, section 3.3), then, optionally, all blocks together on the logits.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "runtime/distillation/training.h"
#include "runtime/inference/engine.h"

namespace spd {

/// What a block learns on: its own stream is what the planned and so far repaired model makes, the
/// teacher's what the model with every sync makes. The target is the teacher's stream either way.
enum class StudentInput { own, teacher };

struct DistillOptions {
  WindowSet set{.window = 512, .windows = 48, .held_out = 4};
  StudentInput input = StudentInput::own;
  bool relative = true;  ///< errors relative to the token's own size, large ones damped
  TrainedParts parts;
  TrainingOptions training;
  /// What the trained blocks' products are made of, if the processor has it; f32 in any case where
  /// the engine is exact.
  MatmulMode products = MatmulMode::bf16_tiles;
};

/// What became of blocks [first, last), trained together since only their last mlp sync is full.
struct DistilledBlocks {
  std::int64_t first = 0;
  std::int64_t last = 0;
  TrainingResult training;
  double rounded = 0.0;  ///< held-out loss with the weights rounded to what the model stores
  double seconds = 0.0;
};

struct DistillProgress {
  /// Windows trained, of, and a note.
  std::function<void(std::int64_t, std::int64_t, const std::string&)> step = {};
  /// Blocks are done: `repair` holds their new parameters.
  std::function<void(const DistilledBlocks&, const RankRepair& repair)> blocks = {};
  /// Training on the logits: whether parameters are to be kept now, asked after each step on all
  /// ranks alike, and keeping them, behind so many windows.
  std::function<bool()> due = {};
  /// Between windows that are only run on, on all ranks alike; may throw to end the training.
  std::function<void()> safe_point = {};
  std::function<void(std::int64_t, const RankRepair& repair)> keep = {};
};

/// Blocks that can be trained one by one: those of which a sync is left out, and those trained
/// together with them since no mlp sync in between is full.
std::set<std::int64_t> blocks_that_leave_out_syncs(const SyncLevels& levels);

/// Trains the blocks in `which` that leave out a sync, in order, each on what the blocks before it
/// yield. Other blocks run as they are. `engine` holds the planned model, repaired as `repair`
/// says; both have the new parameters afterwards. All ranks call it alike, with the same tokens.
/// Throws input Error where the text is too short.
std::vector<DistilledBlocks> distill_blocks(Engine& engine, const std::vector<std::int32_t>& tokens,
                                            const DistillOptions& options,
                                            const std::set<std::int64_t>& which, RankRepair& repair,
                                            const DistillProgress& progress);

/// Trains all blocks together: the loss is KL(teacher || student) of the next token, mean over
/// tokens, nats.
DistilledBlocks distill_logits(Engine& engine, const std::vector<std::int32_t>& tokens,
                               const DistillOptions& options, RankRepair& repair,
                               const DistillProgress& progress);

}  // namespace spd
