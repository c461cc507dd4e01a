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

// Whether a step pays for both of a block's syncs, so that repairs have no business in it.
bool is_whole(const SyncLevels& levels, std::int64_t block) {
  return levels.attn.at(block) == SyncLevel::full && levels.mlp.at(block) == SyncLevel::full;
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
    run_sub_layer(block, SyncPoint::attn, levels, cache, timer, stream);
    run_sub_layer(block, SyncPoint::mlp, levels, cache, timer, stream);
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
  if (point == SyncPoint::attn) {
    attention(block, levels, cache.layer(block), timer, stream);
  } else {
    mlp(block, levels, timer, stream);
  }
  sync(block, point, levels, timer, stream);
}

void Transformer::embed(std::span<const std::int32_t> tokens, Stream& stream) {
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= config_.vocab) {
      throw Error(ErrorCode::usage,
                  fmt::format("token id {} is not in the vocabulary of {}", token, config_.vocab));
    }
  }
  const Activations stream_base = residual_.begin(tokens_);
  operators_.gather_rows(shard_.embedding, tokens, stream_base, stream);
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
  operators_.add(positions, stream_base, stream);
}

ConstActivations Transformer::begin_sub_layer(LapTimer& timer, Stream& stream) {
  const ConstActivations x = residual_.view(stream);
  if (observer_) {
    const std::size_t bytes = options_.max_tokens * config_.hidden * sizeof(float);
    if (observed_input_.bytes() == 0) observed_input_ = Buffer(operators_.device(), bytes);
    operators_.copy(x, {observed_input_.as<float>(), tokens_, config_.hidden}, stream);
  }
  timer.lap(Work::residual);
  return x;
}

void Transformer::begin_prediction(const std::optional<PredictionWeights>& prediction,
                                   SyncLevel level) {
  const bool used =
      use_predictions_ && prediction && level != SyncLevel::full && prediction->level == level;
  prediction_ = used ? &*prediction : nullptr;
  if (!prediction_) return;
  factors_in_use_ = 1 - factors_in_use_;
  Buffer& buffer = factors_[factors_in_use_];
  const std::size_t bytes = options_.max_tokens * prediction_->k() * sizeof(float);
  if (buffer.bytes() < bytes) buffer = Buffer(operators_.device(), bytes);
}

Activations Transformer::factors() const {
  return {factors_[factors_in_use_].as<float>(), tokens_, prediction_->k()};
}

SideProduct Transformer::input_factors() const {
  if (!prediction_ || prediction_->from_input.rows == 0) return {};
  return {.weight = &prediction_->from_input, .accumulate = false, .y = factors()};
}

SideProduct Transformer::inner_factors() const {
  if (!prediction_ || prediction_->from_inner.rows == 0) return {};
  return {.weight = &prediction_->from_inner,
          .accumulate = prediction_->from_input.rows > 0,
          .y = factors()};
}

void Transformer::attention(std::int64_t block, const SyncLevels& levels, const KvLayer& cache,
                            LapTimer& timer, Stream& stream) {
  const BlockWeights& weights = shard_.blocks[block];
  const bool whole = is_whole(levels, block);
  const std::int64_t q_width = weights.q_heads * config_.head_dim;
  const Activations qkv{qkv_.as<float>(), tokens_, weights.qkv.rows};
  const Activations mixed{attention_.as<float>(), tokens_, q_width};
  begin_prediction(weights.attn_prediction, levels.at(block, SyncPoint::attn));
  const ConstActivations x = begin_sub_layer(timer, stream);

  Norm norm = weights.attn_norm.view();
  norm.weight = weights.pick("attn_norm", weights.attn_norm.weight, whole);
  operators_.linear({.x = x,
                     .norm = &norm,
                     .weight = &weights.pick("qkv", weights.qkv, whole),
                     .bias = weights.pick("qkv_bias", weights.qkv_bias, whole),
                     .epilogue = Epilogue::none,
                     .accumulate = false,
                     .y = qkv,
                     .side = input_factors()},
                    stream);
  timer.lap(Work::qkv);

  const Norm q_norm = weights.q_norm.view();
  const Norm k_norm = weights.k_norm.view();
  operators_.store_kv({.qkv = qkv,
                       .q_heads = weights.q_heads,
                       .q_norm = config_.qk_norm ? &q_norm : nullptr,
                       .k_norm = config_.qk_norm ? &k_norm : nullptr,
                       .rope = config_.rope ? &rope_ : nullptr,
                       .segments = segments_,
                       .cache = cache},
                      stream);
  operators_.attention({.q = qkv.col_range(0, q_width),
                        .segments = segments_,
                        .kv_head_of = weights.kv_head_of,
                        .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim)),
                        .window = config_.window_of_block.at(block) ? config_.window : 0,
                        .cache = cache,
                        .out = mixed},
                       stream);
  timer.lap(Work::attention);

  add_partial(mixed, weights.pick("o", weights.o, whole),
              weights.pick("o_bias", weights.o_bias, whole), stream);
  timer.lap(Work::o_proj);
}

void Transformer::mlp(std::int64_t block, const SyncLevels& levels, LapTimer& timer,
                      Stream& stream) {
  const BlockWeights& weights = shard_.blocks[block];
  const bool whole = is_whole(levels, block);
  const Activations inner{mlp_.as<float>(), tokens_, weights.neurons};
  begin_prediction(weights.mlp_prediction, levels.at(block, SyncPoint::mlp));
  const ConstActivations x = begin_sub_layer(timer, stream);

  Norm norm = weights.mlp_norm.view();
  norm.weight = weights.pick("mlp_norm", weights.mlp_norm.weight, whole);
  operators_.linear({.x = x,
                     .norm = &norm,
                     .weight = &weights.pick("up", weights.up, whole),
                     .bias = weights.pick("up_bias", weights.up_bias, whole),
                     .epilogue = config_.activation,
                     .accumulate = false,
                     .y = inner,
                     .side = input_factors()},
                    stream);
  add_partial(inner, weights.pick("down", weights.down, whole),
              weights.pick("down_bias", weights.down_bias, whole), stream);
  timer.lap(Work::mlp);
}

void Transformer::add_partial(ConstActivations inner, const Weight& weight,
                              const float* shared_bias, Stream& stream) {
  const auto partial = observer_ ? residual_.begin_separate_partial() : residual_.begin_partial();
  operators_.linear({.x = inner,
                     .norm = nullptr,
                     .weight = &weight,
                     .bias = nullptr,
                     .epilogue = Epilogue::none,
                     .accumulate = partial.accumulate,
                     .y = partial.y,
                     .side = inner_factors()},
                    stream);
  residual_.end_partial(stream);
  residual_.add_shared_bias(shared_bias, stream);
  inner_ = inner;
}

void Transformer::show_before(SyncPassage& passage, Stream& stream) {
  const BlockWeights& weights = shard_.blocks[passage.block];
  passage.input = {observed_input_.as<float>(), tokens_, config_.hidden};
  passage.norm = (passage.point == SyncPoint::attn ? weights.attn_norm : weights.mlp_norm).view();
  passage.inner = inner_;
  passage.partial = residual_.partial();
  passage.base = residual_.base(stream);
  passage.delta = residual_.delta();
  passage.view = residual_.view(stream);
  observer_->before_sync(passage, stream);
}

void Transformer::sync(std::int64_t block, SyncPoint point, const SyncLevels& levels,
                       LapTimer& timer, Stream& stream) {
  const bool attn = point == SyncPoint::attn;
  const SyncLevel level = levels.at(block, point);
  SyncPassage passage;
  if (observer_) {
    passage.block = block;
    passage.point = point;
    passage.level = level;
    show_before(passage, stream);
    timer.lap(Work::residual);
  }
  residual_.sync(level, levels.wire_at(block, point), comms_, stream,
                 {name(point), static_cast<int>(block)});
  if (prediction_) {
    const bool mean_only = prediction_->k() == 0;
    residual_.predict({.level = level,
                       .z = mean_only ? ConstActivations() : ConstActivations(factors()),
                       .to_hidden = mean_only ? nullptr : &prediction_->to_hidden,
                       .mean = prediction_->mean.data()},
                      stream);
  }
  const double elapsed = timer.lap(attn ? Work::sync_attn : Work::sync_mlp);
  (attn ? profile_.attn_sync_seconds : profile_.mlp_sync_seconds)[block] += elapsed;
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
    weights.insert(weights.end(), {&block.qkv, &block.o, &block.up, &block.down});
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
