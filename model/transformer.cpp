#include "model/transformer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/device/error.h"

namespace spd {
namespace {

RopeTable make_rope(const ModelConfig& config, std::int64_t length, Device& device) {
  const RopeFrequencies frequencies = rope_frequencies(config, length);
  const std::size_t half = frequencies.inverse.size();
  std::vector<float> angles(length * 2 * half);
  for (std::int64_t position = 0; position < length; ++position) {
    float* row = angles.data() + position * 2 * half;
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies.inverse[i];
      row[i] = static_cast<float>(std::cos(angle) * frequencies.amplitude);
      row[half + i] = static_cast<float>(std::sin(angle) * frequencies.amplitude);
    }
  }
  RopeTable table{Buffer(device, angles.size() * sizeof(float)), length,
                  static_cast<std::int64_t>(2 * half)};
  const auto stream = device.make_stream();
  device.upload(table.cos_sin.data(), angles.data(), table.cos_sin.bytes(), *stream);
  stream->synchronize();
  return table;
}

// The widest local shape over the blocks, so that one workspace serves all of them.
template <class F>
std::int64_t widest(const Shard& shard, F width) {
  std::int64_t most = 0;
  for (const BlockWeights& block : shard.blocks) most = std::max<std::int64_t>(most, width(block));
  return most;
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, const Partition& partition, Shard shard,
                         Operators& operators, const RankComms& comms,
                         const TransformerOptions& options)
    : config_(config),
      shard_(std::move(shard)),
      vocab_(partition.vocab.at(comms.rank)),
      operators_(operators),
      comms_(comms),
      options_(options),
      residual_(operators, options.max_tokens, config.hidden),
      profile_(config.blocks) {
  if (options_.max_length == 0) options_.max_length = config.max_positions;
  Device& device = operators.device();
  if (config.rope) rope_ = make_rope(config, options_.max_length, device);
  make_workspaces();
  if (config.learned_positions) {
    positions_ = Buffer(device, options.max_tokens * config.hidden * sizeof(float));
  }
}

void Transformer::make_workspaces() {
  // As wide as the widest block; kept where they are wide enough.
  const auto grow = [&](Buffer& buffer, std::int64_t cols) {
    const std::size_t bytes = options_.max_tokens * cols * sizeof(float);
    if (buffer.bytes() < bytes) buffer = Buffer(operators_.device(), bytes);
  };
  grow(qkv_, widest(shard_, [](const BlockWeights& b) { return b.qkv.rows; }));
  grow(attention_, widest(shard_, [](const BlockWeights& b) { return b.o.cols; }));
  grow(mlp_, widest(shard_, [](const BlockWeights& b) { return b.neurons; }));
}

void Transformer::replace_block(std::int64_t block, BlockWeights weights) {
  shard_.blocks.at(block) = std::move(weights);
  make_workspaces();
}

ConstActivations Transformer::forward(std::span<const std::int32_t> tokens,
                                      std::span<const Segment> segments, const SyncLevels& levels,
                                      KvCache& cache, Stream& stream) {
  begin(tokens, segments, stream);
  const ConstActivations result = run(0, config_.blocks, levels, cache, stream);
  ++profile_.steps;
  return result;
}

void Transformer::begin(std::span<const std::int32_t> tokens, std::span<const Segment> segments,
                        Stream& stream) {
  LapTimer timer(profile_);
  begin_step(static_cast<std::int64_t>(tokens.size()), segments);
  embed(tokens, stream);
  timer.lap(Work::embed);
}

void Transformer::begin(const ResidualState& state, std::span<const Segment> segments,
                        Stream& stream) {
  begin_step(state.tokens, segments);
  residual_.restore(state, stream);
}

void Transformer::begin_step(std::int64_t tokens, std::span<const Segment> segments) {
  if (tokens < 1 || tokens > options_.max_tokens) {
    throw Error(ErrorCode::internal, fmt::format("a step of {} tokens, workspaces hold {}", tokens,
                                                 options_.max_tokens));
  }
  tokens_ = tokens;
  segments_.assign(segments.begin(), segments.end());
}

ConstActivations Transformer::run(std::int64_t first, std::int64_t last, const SyncLevels& levels,
                                  KvCache& cache, Stream& stream) {
  LapTimer timer(profile_);
  for (std::int64_t block = first; block < last; ++block) {
    for (const SyncPoint point : kSyncPoints) {
      run_sub_layer(block, point, levels, cache, timer, stream);
    }
  }
  return residual_.view(stream);
}

ConstActivations Transformer::run_sub_layer(std::int64_t block, SyncPoint point,
                                            const SyncLevels& levels, KvCache& cache,
                                            Stream& stream) {
  LapTimer timer(profile_);
  run_sub_layer(block, point, levels, cache, timer, stream);
  return residual_.view(stream);
}

void Transformer::run_sub_layer(std::int64_t block, SyncPoint point, const SyncLevels& levels,
                                KvCache& cache, LapTimer& timer, Stream& stream) {
  SubLayer layer = begin_sub_layer(block, point, levels, timer, stream);
  layer.inner = point == SyncPoint::attn ? attention(layer, cache.layer(block), timer, stream)
                                         : mlp(layer, stream);
  add_partial(layer, stream);
  timer.lap(point == SyncPoint::attn ? Work::o_proj : Work::mlp);
  sync(layer, timer, stream);
}

void Transformer::embed(std::span<const std::int32_t> tokens, Stream& stream) {
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= config_.vocab) {
      throw Error(ErrorCode::usage,
                  fmt::format("token id {} is not in the vocabulary of {}", token, config_.vocab));
    }
  }
  const Activations base = residual_.begin(tokens_);
  operators_.gather_rows(shard_.embedding, tokens, base, stream);
  if (!config_.learned_positions) return;
  std::vector<std::int32_t> rows(tokens.size());
  for (const Segment& segment : segments_) {
    for (std::int64_t i = 0; i < segment.length; ++i) {
      rows.at(segment.row + i) =
          static_cast<std::int32_t>(segment.position + i + config_.position_offset);
    }
  }
  const Activations positions{positions_.as<float>(), tokens_, config_.hidden};
  operators_.gather_rows(shard_.positions, rows, positions, stream);
  operators_.add(positions, base, stream);
}

Transformer::SubLayer Transformer::begin_sub_layer(std::int64_t block, SyncPoint point,
                                                   const SyncLevels& levels, LapTimer& timer,
                                                   Stream& stream) {
  // Repairs were made for what a sync leaves out: a step that pays for both of a block's syncs does
  // without.
  const bool whole = !levels.leaves_out(block);
  SubLayer layer{.block = block,
                 .point = point,
                 .level = levels.at(block, point),
                 .wire = levels.wire_at(block, point),
                 .weights = shard_.blocks[block].sub_layer(point, whole),
                 .input = {},
                 .inner = {},
                 .factors = {}};
  const PredictionWeights*& prediction = layer.weights.prediction;
  const bool left_out = layer.level != SyncLevel::full;
  if (!use_predictions_ || !left_out || (prediction && prediction->level != layer.level)) {
    prediction = nullptr;
  }
  if (prediction) layer.factors = next_factors(*prediction);
  layer.input = residual_.view(stream);
  if (observer_) {
    const std::size_t bytes = options_.max_tokens * config_.hidden * sizeof(float);
    if (observed_input_.bytes() == 0) observed_input_ = Buffer(operators_.device(), bytes);
    const Activations copy{observed_input_.as<float>(), tokens_, config_.hidden};
    operators_.copy(layer.input, copy, stream);
    layer.input = copy;
  }
  timer.lap(Work::residual);
  return layer;
}

Activations Transformer::next_factors(const PredictionWeights& prediction) {
  Buffer& buffer = factors_[predictions_++ % factors_.size()];
  const std::size_t bytes = options_.max_tokens * prediction.k() * sizeof(float);
  if (buffer.bytes() < bytes) buffer = Buffer(operators_.device(), bytes);
  return {buffer.as<float>(), tokens_, prediction.k()};
}

SideProduct Transformer::SubLayer::input_factors() const {
  if (!weights.prediction || weights.prediction->from_input.rows == 0) return {};
  return {.weight = &weights.prediction->from_input, .accumulate = false, .y = factors};
}

SideProduct Transformer::SubLayer::inner_factors() const {
  if (!weights.prediction || weights.prediction->from_inner.rows == 0) return {};
  return {.weight = &weights.prediction->from_inner,
          .accumulate = weights.prediction->from_input.rows > 0,
          .y = factors};
}

ConstActivations Transformer::attention(const SubLayer& layer, const KvLayer& cache,
                                        LapTimer& timer, Stream& stream) {
  const BlockWeights& block = shard_.blocks[layer.block];
  const std::int64_t q_width = block.q_heads * config_.head_dim;
  const Activations qkv{qkv_.as<float>(), tokens_, block.qkv.rows};
  const Activations mixed{attention_.as<float>(), tokens_, q_width};
  operators_.linear({.x = layer.input,
                     .norm = &layer.weights.norm,
                     .weight = layer.weights.in,
                     .bias = layer.weights.in_bias,
                     .epilogue = Epilogue::none,
                     .accumulate = false,
                     .y = qkv,
                     .side = layer.input_factors()},
                    stream);
  timer.lap(Work::qkv);

  const Norm q_norm = block.q_norm.view();
  const Norm k_norm = block.k_norm.view();
  operators_.store_kv({.qkv = qkv,
                       .q_heads = block.q_heads,
                       .q_norm = config_.qk_norm ? &q_norm : nullptr,
                       .k_norm = config_.qk_norm ? &k_norm : nullptr,
                       .rope = config_.rope ? &rope_ : nullptr,
                       .segments = segments_,
                       .cache = cache},
                      stream);
  operators_.attention({.q = qkv.col_range(0, q_width),
                        .segments = segments_,
                        .kv_head_of = block.kv_head_of,
                        .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim)),
                        .window = config_.window_of_block.at(layer.block) ? config_.window : 0,
                        .cache = cache,
                        .out = mixed},
                       stream);
  timer.lap(Work::attention);
  return mixed;
}

ConstActivations Transformer::mlp(const SubLayer& layer, Stream& stream) {
  const Activations neurons{mlp_.as<float>(), tokens_, shard_.blocks[layer.block].neurons};
  operators_.linear({.x = layer.input,
                     .norm = &layer.weights.norm,
                     .weight = layer.weights.in,
                     .bias = layer.weights.in_bias,
                     .epilogue = config_.activation,
                     .accumulate = false,
                     .y = neurons,
                     .side = layer.input_factors()},
                    stream);
  return neurons;
}

void Transformer::add_partial(const SubLayer& layer, Stream& stream) {
  const auto partial = observer_ ? residual_.begin_separate_partial() : residual_.begin_partial();
  operators_.linear({.x = layer.inner,
                     .norm = nullptr,
                     .weight = layer.weights.out,
                     .bias = nullptr,
                     .epilogue = Epilogue::none,
                     .accumulate = partial.accumulate,
                     .y = partial.y,
                     .side = layer.inner_factors()},
                    stream);
  residual_.end_partial(stream);
  residual_.add_shared_bias(layer.weights.shared_bias, stream);
}

SyncPassage Transformer::show_before_sync(const SubLayer& layer, Stream& stream) {
  SyncPassage passage{.block = layer.block,
                      .point = layer.point,
                      .level = layer.level,
                      .input = layer.input,
                      .norm = layer.weights.norm,
                      .inner = layer.inner,
                      .partial = residual_.partial(),
                      .base = residual_.base(stream),
                      .delta = residual_.delta(),
                      .view = residual_.view(stream)};
  observer_->before_sync(passage, stream);
  return passage;
}

void Transformer::sync(const SubLayer& layer, LapTimer& timer, Stream& stream) {
  SyncPassage passage;
  if (observer_) {
    passage = show_before_sync(layer, stream);
    timer.lap(Work::residual);
  }
  residual_.sync(layer.level, layer.wire, comms_, stream,
                 {name(layer.point), static_cast<int>(layer.block)});
  if (const PredictionWeights* prediction = layer.weights.prediction) {
    const bool mean_only = prediction->k() == 0;
    residual_.correct_view({.level = layer.level,
                            .z = mean_only ? ConstActivations() : layer.factors,
                            .to_hidden = mean_only ? nullptr : &prediction->to_hidden,
                            .mean = prediction->mean.data()},
                           stream);
  }
  const bool attn = layer.point == SyncPoint::attn;
  profile_.sync_seconds[layer.point][layer.block] +=
      timer.lap(attn ? Work::sync_attn : Work::sync_mlp);
  if (observer_) {
    passage.view = residual_.view(stream);
    observer_->after_sync(passage, stream);
  }
}

void Transformer::logits(ConstActivations hidden, Activations y, Stream& stream) {
  LapTimer timer(profile_);
  const Norm norm = shard_.final_norm.view();
  operators_.linear({.x = hidden,
                     .norm = &norm,
                     .weight = &shard_.lm_head,
                     .bias = nullptr,
                     .epilogue = Epilogue::none,
                     .accumulate = false,
                     .y = y},
                    stream);
  timer.lap(Work::lm_head);
}

std::vector<const Weight*> Transformer::weights_read() const {
  std::vector<const Weight*> weights;
  for (const BlockWeights& block : shard_.blocks) {
    weights.insert(weights.end(), {&block.qkv, &block.o, &block.gate_up, &block.down});
  }
  weights.push_back(&shard_.lm_head);
  return weights;
}

std::size_t Transformer::weight_bytes() const {
  std::size_t bytes = 0;
  for (const Weight* weight : weights_read()) bytes += weight->storage.bytes();
  return bytes;
}

}  // namespace spd
