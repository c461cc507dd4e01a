// Runs a model directory on thread ranks and gives back whole logits: what model tests compare.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "comm/thread_communicator.h"
#include "kernels/device/cpu_device.h"
#include "model/checkpoint/checkpoint.h"
#include "model/config.h"
#include "model/shard.h"
#include "model/transformer.h"

namespace spd {

struct VirtualRun {
  std::filesystem::path model;
  int ranks = 1;
  int nodes = 1;
  std::function<void(SyncLevels&)> edit_levels;    // default: all full
  std::function<void(Partition&)> edit_partition;  // default: contiguous
  DType kv_dtype = DType::f32;
  std::int64_t max_length = 0;    // that rope frequencies are made for; 0: the input's
  std::int64_t step_tokens = 64;  // tokens of one forward step
  int threads = 1;
  bool reference_operators = false;
  /// Where each rank computes; default: the CPU.
  std::function<std::unique_ptr<Device>()> make_device;
  std::function<std::unique_ptr<Operators>(Device&)> make_operators;
};

using Logits = std::vector<std::vector<float>>;  // [tokens][vocab]

/// Logits of every position of `tokens`, run in steps of run.step_tokens.
inline Logits run_logits(const VirtualRun& run, const std::vector<std::int32_t>& tokens) {
  const ModelConfig config = ModelConfig::load(run.model);
  const Topology topology = Topology::contiguous(run.ranks, run.nodes);
  Partition partition = Partition::contiguous(config, run.ranks);
  if (run.edit_partition) run.edit_partition(partition);
  partition.validate(config);
  SyncLevels levels = SyncLevels::all_full(config.blocks);
  if (run.edit_levels) run.edit_levels(levels);
  levels.validate(config.blocks);

  const auto length = static_cast<std::int64_t>(tokens.size());
  Logits result(length, std::vector<float>(config.vocab));
  ThreadGroup group(topology);
  group.run([&](int rank) {
    const auto world = group.world(rank);
    const auto node = group.node(rank);
    const RankComms comms{rank, topology, world.get(), node.get()};
    const std::unique_ptr<Device> owned =
        run.make_device ? run.make_device() : std::make_unique<CpuDevice>();
    Device& device = *owned;
    const auto stream = device.make_stream();
    const auto operators = run.make_operators ? run.make_operators(device)
                           : run.reference_operators
                               ? make_reference_operators(device)
                               : make_cpu_operators(device, {run.threads, {}, MatmulMode::f32});
    const auto source = make_checkpoint_source(Checkpoint::open(run.model));
    TransformerOptions options;
    options.max_tokens = run.step_tokens;
    options.max_length = std::max(run.max_length, length);
    Transformer transformer(config, partition,
                            load_shard(config, partition, rank, *source, *operators), *operators,
                            comms, options);
    KvCache cache(device, config, partition, rank, {1, length, run.kv_dtype});
    const VocabRange range = transformer.vocab_range();
    Buffer buffer(device, run.step_tokens * range.count * sizeof(float));
    for (std::int64_t first = 0; first < length; first += run.step_tokens) {
      const std::int64_t count = std::min(run.step_tokens, length - first);
      const Segment segment{0, count, 0, first};
      const auto hidden = transformer.forward(std::span(tokens).subspan(first, count),
                                              {&segment, 1}, levels, cache, *stream);
      const Activations logits{buffer.as<float>(), count, range.count};
      transformer.logits(hidden, logits, *stream);
      for (std::int64_t i = 0; i < count; ++i) {
        device.download(result[first + i].data() + range.first, logits.row(i),
                        range.count * sizeof(float), *stream);
      }
      stream->synchronize();
    }
  });
  return result;
}

}  // namespace spd
