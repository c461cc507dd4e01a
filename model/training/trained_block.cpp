#include "model/training/trained_block.h"

#include <cmath>
#include <utility>

namespace spd {

TrainedBlock::TrainedBlock(const ModelConfig& config, std::int64_t block,
                           const BlockWeights& weights, const BlockRepair& repair,
                           const RopeTable* rope, Operators& operators, Gradients& gradients,
                           const TrainedBlockOptions& options, Stream& stream)
    : config_(config),
      block_(block),
      operators_(operators),
      gradients_(gradients),
      rope_(rope),
      options_(options),
      kv_head_of_(weights.kv_head_of),
      q_heads_(weights.q_heads),
      kv_heads_(weights.kv_heads),
      neurons_(weights.neurons) {
  load_tensors(weights, stream);
  make_workspaces(weights);
  untrained_ = repair.weights;
  for_named(*this, [&](const char* name, const TrainedTensor& tensor) {
    if (tensor.trained()) untrained_.erase(name);
  });
  for (const SyncPoint point : kSyncPoints) {
    if (const auto& prediction = repair.prediction[point]) {
      predictions_[point] =
          TrainedPrediction(*prediction, options.parts.prediction, gradients.operand_type(),
                            options.max_tokens, operators, stream);
    }
  }
}

void TrainedBlock::load_tensors(const BlockWeights& weights, Stream& stream) {
  Device& device = operators_.device();
  const TrainedParts& parts = options_.parts;
  const auto factor = [&](const Weight& weight, bool trained) {
    return TrainedTensor(to_host(weight, device, stream), trained, gradients_.operand_type(),
                         operators_, stream);
  };
  const auto vector = [&](const float* data, std::int64_t count, bool trained) {
    const HostMatrix values = to_host(data, count, device, stream);
    return values.empty() ? TrainedTensor()
                          : TrainedTensor(values, trained, DType::f32, operators_, stream);
  };
  const PerPoint<bool> trained{parts.attention, parts.mlp};
  const std::int64_t hidden = config_.hidden;
  for (const SyncPoint point : kSyncPoints) {
    const SubLayerWeights from = weights.sub_layer(point, false);
    SubLayerTensors& to = tensors_[point];
    to.in = factor(*from.in, trained[point]);
    to.in_bias = vector(from.in_bias, from.in->rows, trained[point]);
    to.out = factor(*from.out, trained[point]);
    // Shared biases are nobody's own: they stay what they are, and the residual stream adds them.
    to.shared_bias = vector(from.shared_bias, hidden, false);
    to.norm = vector(from.norm.weight, hidden, parts.norms);
    to.norm_bias = vector(from.norm.bias, hidden, false);
  }
  q_norm_ = vector(weights.q_norm.weight.data(), config_.head_dim, false);
  k_norm_ = vector(weights.k_norm.weight.data(), config_.head_dim, false);
}

void TrainedBlock::make_workspaces(const BlockWeights& weights) {
  Device& device = operators_.device();
  const auto workspace = [&](std::int64_t cols) {
    return Buffer(device, options_.max_tokens * cols * sizeof(float));
  };
  tapes_.attn.inner_cols = q_heads_ * config_.head_dim;
  tapes_.mlp.inner_cols = neurons_;
  for (const SyncPoint point : kSyncPoints) {
    Tape& tape = tapes_[point];
    tape.input = workspace(config_.hidden);
    tape.normed = workspace(config_.hidden);
    tape.inner = workspace(tape.inner_cols);
    tape.dnormed = workspace(config_.hidden);
    tape.dinner = workspace(tape.inner_cols);
  }
  qkv_ = workspace(weights.qkv.rows);
  dqkv_ = workspace(weights.qkv.rows);
  if (config_.qk_norm) raw_qkv_ = workspace(weights.qkv.rows);
  pre_ = workspace(weights.gate_up.rows);
  for (Buffer* cache : {&keys_, &values_}) {
    *cache = Buffer(device, options_.max_segments * kv_heads_ * options_.max_length *
                                config_.head_dim * sizeof(float));
  }
}

// In the order of the names, which fixes the order in which gradients are summed up.
template <class Self, class Visit>
void TrainedBlock::for_named(Self& self, Visit&& visit) {
  auto& [attn, mlp] = self.tensors_;
  visit("attn_norm", attn.norm);
  visit("attn_norm_bias", attn.norm_bias);
  visit("down", mlp.out);
  visit("down_bias", mlp.shared_bias);
  visit("k_norm", self.k_norm_);
  visit("mlp_norm", mlp.norm);
  visit("mlp_norm_bias", mlp.norm_bias);
  visit("o", attn.out);
  visit("o_bias", attn.shared_bias);
  visit("q_norm", self.q_norm_);
  visit("qkv", attn.in);
  visit("qkv_bias", attn.in_bias);
  visit("up", mlp.in);
  visit("up_bias", mlp.in_bias);
}

Norm TrainedBlock::norm(SyncPoint point) const {
  const SubLayerTensors& tensors = tensors_[point];
  return {config_.norm, tensors.norm.data(), tensors.norm_bias.data(), config_.norm_epsilon};
}

Norm TrainedBlock::head_norm(const TrainedTensor& weight) const {
  return {NormKind::rms, weight.data(), nullptr, config_.norm_epsilon};
}

KvLayer TrainedBlock::cache() const {
  return {keys_.data(), values_.data(),      DType::f32,      options_.max_segments,
          kv_heads_,    options_.max_length, config_.head_dim};
}

namespace {

Activations on(const Buffer& buffer, std::int64_t rows, std::int64_t cols) {
  return {buffer.as<float>(), rows, cols};
}

}  // namespace

Activations TrainedBlock::input(SyncPoint point, std::int64_t tokens) {
  tokens_ = tokens;
  return on(tapes_[point].input, tokens, config_.hidden);
}

TrainedPrediction::Features TrainedBlock::features(SyncPoint point) const {
  const Tape& kept = tapes_[point];
  return {on(kept.normed, tokens_, config_.hidden), on(kept.inner, tokens_, kept.inner_cols)};
}

TrainedPrediction::Features TrainedBlock::dfeatures(SyncPoint point) const {
  const Tape& kept = tapes_[point];
  return {on(kept.dnormed, tokens_, config_.hidden), on(kept.dinner, tokens_, kept.inner_cols)};
}

void TrainedBlock::run(SyncPoint point, std::span<const Segment> segments, Activations partial,
                       bool accumulate, Stream& stream) {
  const auto& [normed, inner] = features(point);
  const SubLayerTensors& tensors = tensors_[point];
  operators_.norm(on(tapes_[point].input, tokens_, config_.hidden), norm(point), normed, stream);
  const Activations products =
      on(point == SyncPoint::attn ? qkv_ : pre_, tokens_, tensors.in.weight().rows);
  tensors.in.multiply(normed, tensors.in_bias.data(), false, products, operators_, stream);
  if (point == SyncPoint::attn) {
    attend(segments, stream);
  } else {
    gradients_.activate(config_.activation, products, inner, stream);
  }
  tensors.out.multiply(inner, nullptr, accumulate, partial, operators_, stream);
}

void TrainedBlock::attend(std::span<const Segment> segments, Stream& stream) {
  const Activations qkv = on(qkv_, tokens_, tensors_.attn.in.weight().rows);
  if (config_.qk_norm) operators_.copy(qkv, on(raw_qkv_, qkv.rows, qkv.cols), stream);
  const Norm q_norm = head_norm(q_norm_), k_norm = head_norm(k_norm_);
  operators_.store_kv({.qkv = qkv,
                       .q_heads = q_heads_,
                       .q_norm = config_.qk_norm ? &q_norm : nullptr,
                       .k_norm = config_.qk_norm ? &k_norm : nullptr,
                       .rope = rope_,
                       .segments = segments,
                       .cache = cache()},
                      stream);
  operators_.attention({.q = qkv.col_range(0, tapes_.attn.inner_cols),
                        .segments = segments,
                        .kv_head_of = kv_head_of_,
                        .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim)),
                        .window = config_.window_of_block.at(block_) ? config_.window : 0,
                        .cache = cache(),
                        .out = on(tapes_.attn.inner, tokens_, tapes_.attn.inner_cols)},
                       stream);
}

std::optional<ViewCorrection> TrainedBlock::correction(SyncPoint point, SyncLevel level,
                                                       Stream& stream) {
  return predictions_[point].correction(level, features(point), operators_, stream);
}

void TrainedBlock::correction_back(SyncPoint point, ConstActivations dcorrection, Stream& stream) {
  tapes_[point].written =
      predictions_[point].back(dcorrection, features(point), dfeatures(point), gradients_, stream);
}

void TrainedBlock::run_back(SyncPoint point, std::span<const Segment> segments,
                            ConstActivations dpartial, Activations dinput, Stream& stream) {
  const auto& [normed, inner] = features(point);
  const auto& [dnormed, dinner] = dfeatures(point);
  const SubLayerTensors& tensors = tensors_[point];
  const TrainedPrediction::Written written = std::exchange(tapes_[point].written, {});
  tensors.out.multiply_back(dpartial, inner, written.inner, dinner, gradients_, stream);

  const bool attn = point == SyncPoint::attn;
  const Activations dproduct = on(attn ? dqkv_ : pre_, tokens_, tensors.in.weight().rows);
  if (attn) {
    attend_back(segments, dinner, stream);
  } else {
    gradients_.activation(config_.activation, dproduct, dinner, dproduct, stream);
  }
  if (tensors.in_bias.trained()) {
    gradients_.bias(dproduct, tensors.in_bias.gradient().data, stream);
  }
  tensors.in.multiply_back(dproduct, normed, written.normed, dnormed, gradients_, stream);
  gradients_.norm({.x = on(tapes_[point].input, tokens_, config_.hidden),
                   .norm = norm(point),
                   .dy = dnormed,
                   .dx = dinput,
                   .accumulate = false,
                   .dweight = tensors.norm.trained() ? tensors.norm.gradient().data : nullptr,
                   .dbias = nullptr},
                  stream);
}

void TrainedBlock::attend_back(std::span<const Segment> segments, ConstActivations dmixed,
                               Stream& stream) {
  const Activations qkv = on(qkv_, tokens_, tensors_.attn.in.weight().rows);
  const Activations dqkv = on(dqkv_, tokens_, qkv.cols);
  gradients_.attention({.q = qkv.col_range(0, tapes_.attn.inner_cols),
                        .segments = segments,
                        .kv_head_of = kv_head_of_,
                        .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim)),
                        .window = config_.window_of_block.at(block_) ? config_.window : 0,
                        .cache = cache(),
                        .out = on(tapes_.attn.inner, tokens_, tapes_.attn.inner_cols),
                        .dout = dmixed,
                        .dqkv = dqkv},
                       stream);
  const Norm q_norm = head_norm(q_norm_), k_norm = head_norm(k_norm_);
  gradients_.store_kv({.dqkv = dqkv,
                       .qkv = on(raw_qkv_, qkv.rows, qkv.cols),
                       .q_heads = q_heads_,
                       .kv_heads = kv_heads_,
                       .head_dim = config_.head_dim,
                       .q_norm = config_.qk_norm ? &q_norm : nullptr,
                       .k_norm = config_.qk_norm ? &k_norm : nullptr,
                       .dq_norm = nullptr,
                       .dk_norm = nullptr,
                       .rope = rope_,
                       .segments = segments},
                      stream);
}

template <class Visit>
void TrainedBlock::for_trained(Visit&& visit) const {
  for_named(*this, [&](const char*, const TrainedTensor& tensor) {
    if (tensor.trained()) visit(tensor);
  });
  for (const SyncPoint point : kSyncPoints) predictions_[point].for_trained(visit);
}

double TrainedBlock::squared_gradient(Stream& stream) const {
  double sum = 0.0;
  for_trained(
      [&](const TrainedTensor& tensor) { sum += tensor.squared_gradient(gradients_, stream); });
  return sum;
}

void TrainedBlock::step(const AdamArgs& adam, Stream& stream) {
  for_trained([&](const TrainedTensor& tensor) { tensor.step(adam, gradients_, stream); });
}

template <class Download>
BlockRepair TrainedBlock::collect(Download&& download) const {
  BlockRepair repair;
  for (const SyncPoint point : kSyncPoints) {
    repair.prediction[point] = predictions_[point].collect(download);
  }
  for_named(*this, [&](const char* name, const TrainedTensor& tensor) {
    if (tensor.trained()) repair.weights[name] = download(tensor);
  });
  return repair;
}

BlockRepair TrainedBlock::repaired(Stream& stream) const {
  BlockRepair repair = collect(
      [&](const TrainedTensor& tensor) { return tensor.download(operators_.device(), stream); });
  repair.weights.insert(untrained_.begin(), untrained_.end());
  return repair;
}

BlockRepair TrainedBlock::gradients(Stream& stream) const {
  return collect([&](const TrainedTensor& tensor) {
    return tensor.download_gradient(operators_.device(), stream);
  });
}

void TrainedBlock::restore(const BlockRepair& repair, Stream& stream) {
  for (const SyncPoint point : kSyncPoints) {
    const auto& prediction = repair.prediction[point];
    if (prediction) predictions_[point].restore(*prediction, operators_, stream);
  }
  for_named(*this, [&](const char* name, TrainedTensor& tensor) {
    const auto values = repair.weights.find(name);
    if (values != repair.weights.end() && tensor.exists()) {
      tensor.upload(values->second, operators_, stream);
    }
  });
}

}  // namespace spd
