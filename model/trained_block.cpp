#include "model/trained_block.h"

#include <cmath>

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
  Device& device = operators.device();
  const TrainedParts& parts = options.parts;
  const auto add = [&](const char* name, const HostMatrix& values, bool trained) {
    if (!values.empty()) {
      tensors_.emplace(name, TrainedTensor(values, trained, DType::f32, operators, stream));
    }
  };
  const auto add_factor = [&](const char* name, const Weight& weight, bool trained) {
    tensors_.emplace(name, TrainedTensor(to_host(weight, device, stream), trained,
                                         gradients.operand_type(), operators, stream));
  };
  add_factor("qkv", weights.qkv, parts.attention);
  add("qkv_bias", to_host(weights.qkv_bias.data(), weights.qkv.rows, device, stream),
      parts.attention);
  add_factor("o", weights.o, parts.attention);
  add_factor("up", weights.up, parts.mlp);
  add("up_bias", to_host(weights.up_bias.data(), weights.up.rows, device, stream), parts.mlp);
  add_factor("down", weights.down, parts.mlp);
  // Shared biases are nobody's own: they stay what they are, and the residual stream adds them.
  const std::int64_t hidden = config.hidden;
  add("o_bias", to_host(weights.o_bias.data(), hidden, device, stream), false);
  add("down_bias", to_host(weights.down_bias.data(), hidden, device, stream), false);
  add("attn_norm", to_host(weights.attn_norm.weight.data(), hidden, device, stream), parts.norms);
  add("mlp_norm", to_host(weights.mlp_norm.weight.data(), hidden, device, stream), parts.norms);
  add("attn_norm_bias", to_host(weights.attn_norm.bias.data(), hidden, device, stream), false);
  add("mlp_norm_bias", to_host(weights.mlp_norm.bias.data(), hidden, device, stream), false);
  add("q_norm", to_host(weights.q_norm.weight.data(), config.head_dim, device, stream), false);
  add("k_norm", to_host(weights.k_norm.weight.data(), config.head_dim, device, stream), false);

  const auto workspace = [&](std::int64_t cols) {
    return Buffer(device, options.max_tokens * cols * sizeof(float));
  };
  tapes_[0].inner_cols = q_heads_ * config.head_dim;
  tapes_[1].inner_cols = neurons_;
  for (Tape& tape : tapes_) {
    tape.input = workspace(hidden);
    tape.normed = workspace(hidden);
    tape.inner = workspace(tape.inner_cols);
    tape.dnormed = workspace(hidden);
    tape.dinner = workspace(tape.inner_cols);
  }
  qkv_ = workspace(weights.qkv.rows);
  dqkv_ = workspace(weights.qkv.rows);
  if (config.qk_norm) raw_qkv_ = workspace(weights.qkv.rows);
  pre_ = workspace(weights.up.rows);
  for (Buffer* cache : {&keys_, &values_}) {
    *cache = Buffer(device, options.max_segments * kv_heads_ * options.max_length *
                                config.head_dim * sizeof(float));
  }
  for (const auto& [name, values] : repair.weights) {
    if (!has(name) || !tensor(name).trained()) untrained_[name] = values;
  }
  add_predictor(SyncPoint::attn, repair.attn, parts.prediction, stream);
  add_predictor(SyncPoint::mlp, repair.mlp, parts.prediction, stream);
}

void TrainedBlock::add_predictor(SyncPoint point, const std::optional<Prediction>& prediction,
                                 bool trained, Stream& stream) {
  if (!prediction) return;
  Predictor& to = predictor(point);
  to.present = true;
  to.level = prediction->level;
  const auto add = [&](const HostMatrix& values, DType operand, TrainedTensor& tensor) {
    if (!values.empty()) tensor = TrainedTensor(values, trained, operand, operators_, stream);
  };
  const DType operand = gradients_.operand_type();
  add(prediction->from_input, operand, to.from_input);
  add(prediction->from_inner, operand, to.from_inner);
  add(prediction->to_hidden, operand, to.to_hidden);
  add(prediction->mean, DType::f32, to.mean);
  to.z =
      Buffer(operators_.device(), options_.max_tokens * std::max<std::int64_t>(1, prediction->k()) *
                                      static_cast<std::int64_t>(sizeof(float)));
}

const float* TrainedBlock::data_of(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second.data();
}

Norm TrainedBlock::norm(SyncPoint point) const {
  const bool attn = point == SyncPoint::attn;
  return {config_.norm, data_of(attn ? "attn_norm" : "mlp_norm"),
          data_of(attn ? "attn_norm_bias" : "mlp_norm_bias"), config_.norm_epsilon};
}

namespace {

Activations on(const Buffer& buffer, std::int64_t rows, std::int64_t cols) {
  return {buffer.as<float>(), rows, cols};
}

}  // namespace

Activations TrainedBlock::input(SyncPoint point, std::int64_t tokens) {
  tokens_ = tokens;
  return on(tape(point).input, tokens, config_.hidden);
}

void TrainedBlock::product(ConstActivations x, const TrainedTensor& weight, const float* bias,
                           bool accumulate, Activations y, Stream& stream) {
  operators_.linear({.x = x,
                     .norm = nullptr,
                     .weight = &weight.operand(),
                     .bias = bias,
                     .epilogue = Epilogue::none,
                     .accumulate = accumulate,
                     .y = y},
                    stream);
}

void TrainedBlock::product_back(ConstActivations dy, ConstActivations x, TrainedTensor& weight,
                                bool accumulate, Activations dx, Stream& stream) {
  if (weight.trained()) gradients_.linear_weight(dy, x, weight.gradient(), stream);
  gradients_.linear_input(dy, weight.operand(), accumulate, dx, stream);
}

void TrainedBlock::run(SyncPoint point, std::span<const Segment> segments, Activations partial,
                       bool accumulate, Stream& stream) {
  Tape& kept = tape(point);
  const std::int64_t hidden = config_.hidden;
  const Activations normed = on(kept.normed, tokens_, hidden);
  const Activations inner = on(kept.inner, tokens_, kept.inner_cols);
  operators_.norm(on(kept.input, tokens_, hidden), norm(point), normed, stream);
  if (point == SyncPoint::attn) {
    const TrainedTensor& qkv = tensor("qkv");
    product(normed, qkv, data_of("qkv_bias"), false, on(qkv_, tokens_, qkv.weight().rows), stream);
    attend(segments, stream);
  } else {
    const TrainedTensor& up = tensor("up");
    const Activations pre = on(pre_, tokens_, up.weight().rows);
    product(normed, up, data_of("up_bias"), false, pre, stream);
    gradients_.activate(config_.activation, pre, inner, stream);
  }
  product(inner, tensor(point == SyncPoint::attn ? "o" : "down"), nullptr, accumulate, partial,
          stream);
}

void TrainedBlock::attend(std::span<const Segment> segments, Stream& stream) {
  const Activations qkv = on(qkv_, tokens_, tensor("qkv").weight().rows);
  if (config_.qk_norm) operators_.copy(qkv, on(raw_qkv_, qkv.rows, qkv.cols), stream);
  const Norm q_norm{NormKind::rms, data_of("q_norm"), nullptr, config_.norm_epsilon};
  const Norm k_norm{NormKind::rms, data_of("k_norm"), nullptr, config_.norm_epsilon};
  const KvLayer cache{keys_.data(), values_.data(),      DType::f32,      options_.max_segments,
                      kv_heads_,    options_.max_length, config_.head_dim};
  operators_.store_kv({.qkv = qkv,
                       .q_heads = q_heads_,
                       .q_norm = config_.qk_norm ? &q_norm : nullptr,
                       .k_norm = config_.qk_norm ? &k_norm : nullptr,
                       .rope = rope_,
                       .segments = segments,
                       .cache = cache},
                      stream);
  operators_.attention({.q = qkv.col_range(0, tapes_[0].inner_cols),
                        .segments = segments,
                        .kv_head_of = kv_head_of_,
                        .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim)),
                        .window = config_.window_of_block.at(block_) ? config_.window : 0,
                        .cache = cache,
                        .out = on(tapes_[0].inner, tokens_, tapes_[0].inner_cols)},
                       stream);
}

std::optional<ResidualStream::Missing> TrainedBlock::predict(SyncPoint point, SyncLevel level,
                                                             Stream& stream) {
  Predictor& from = predictor(point);
  if (!from.present || level == SyncLevel::full || from.level != level) return std::nullopt;
  ResidualStream::Missing missing{
      .level = level, .z = {}, .to_hidden = nullptr, .mean = from.mean.data()};
  if (!from.to_hidden.exists()) return missing;
  const Tape& kept = tape(point);
  const Activations z = on(from.z, tokens_, from.to_hidden.weight().cols);
  if (from.from_input.exists()) {
    product(on(kept.normed, tokens_, config_.hidden), from.from_input, nullptr, false, z, stream);
  }
  if (from.from_inner.exists()) {
    product(on(kept.inner, tokens_, kept.inner_cols), from.from_inner, nullptr,
            from.from_input.exists(), z, stream);
  }
  missing.z = z;
  missing.to_hidden = &from.to_hidden.operand();
  return missing;
}

void TrainedBlock::predict_back(SyncPoint point, ConstActivations dmissing, Stream& stream) {
  Predictor& from = predictor(point);
  if (!from.present) return;
  if (from.mean.trained()) gradients_.bias(dmissing, from.mean.gradient().data, stream);
  if (!from.to_hidden.exists()) return;
  Tape& kept = tape(point);
  const Activations z = on(from.z, tokens_, from.to_hidden.weight().cols);
  // The gradient takes the place of what it is the gradient of, which the weights' needs first.
  if (from.to_hidden.trained()) {
    gradients_.linear_weight(dmissing, z, from.to_hidden.gradient(), stream);
  }
  gradients_.linear_input(dmissing, from.to_hidden.operand(), false, z, stream);
  if (from.from_input.exists()) {
    product_back(z, on(kept.normed, tokens_, config_.hidden), from.from_input, false,
                 on(kept.dnormed, tokens_, config_.hidden), stream);
    kept.dnormed_begun = true;
  }
  if (from.from_inner.exists()) {
    product_back(z, on(kept.inner, tokens_, kept.inner_cols), from.from_inner, false,
                 on(kept.dinner, tokens_, kept.inner_cols), stream);
    kept.dinner_begun = true;
  }
}

void TrainedBlock::run_back(SyncPoint point, std::span<const Segment> segments,
                            ConstActivations dpartial, Activations dinput, Stream& stream) {
  const bool attn = point == SyncPoint::attn;
  Tape& kept = tape(point);
  const Activations normed = on(kept.normed, tokens_, config_.hidden);
  const Activations inner = on(kept.inner, tokens_, kept.inner_cols);
  const Activations dnormed = on(kept.dnormed, tokens_, config_.hidden);
  const Activations dinner = on(kept.dinner, tokens_, kept.inner_cols);
  product_back(dpartial, inner, tensor(attn ? "o" : "down"), kept.dinner_begun, dinner, stream);

  TrainedTensor& weight = tensor(attn ? "qkv" : "up");
  const Activations dproduct = on(attn ? dqkv_ : pre_, tokens_, weight.weight().rows);
  if (attn) {
    attend_back(segments, dinner, stream);
  } else {
    gradients_.activation(config_.activation, dproduct, dinner, dproduct, stream);
  }
  const char* bias = attn ? "qkv_bias" : "up_bias";
  if (has(bias) && tensor(bias).trained()) {
    gradients_.bias(dproduct, tensor(bias).gradient().data, stream);
  }
  product_back(dproduct, normed, weight, kept.dnormed_begun, dnormed, stream);
  TrainedTensor& norm_weight = tensor(attn ? "attn_norm" : "mlp_norm");
  gradients_.norm({.x = on(kept.input, tokens_, config_.hidden),
                   .norm = norm(point),
                   .dy = dnormed,
                   .dx = dinput,
                   .accumulate = false,
                   .dweight = norm_weight.trained() ? norm_weight.gradient().data : nullptr,
                   .dbias = nullptr},
                  stream);
  kept.dnormed_begun = false;
  kept.dinner_begun = false;
}

void TrainedBlock::attend_back(std::span<const Segment> segments, ConstActivations dmixed,
                               Stream& stream) {
  const Activations qkv = on(qkv_, tokens_, tensor("qkv").weight().rows);
  const Activations dqkv = on(dqkv_, tokens_, qkv.cols);
  gradients_.attention({.q = qkv.col_range(0, tapes_[0].inner_cols),
                        .segments = segments,
                        .kv_head_of = kv_head_of_,
                        .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim)),
                        .window = config_.window_of_block.at(block_) ? config_.window : 0,
                        .cache = {keys_.data(), values_.data(), DType::f32, options_.max_segments,
                                  kv_heads_, options_.max_length, config_.head_dim},
                        .out = on(tapes_[0].inner, tokens_, tapes_[0].inner_cols),
                        .dout = dmixed,
                        .dqkv = dqkv},
                       stream);
  const Norm q_norm{NormKind::rms, data_of("q_norm"), nullptr, config_.norm_epsilon};
  const Norm k_norm{NormKind::rms, data_of("k_norm"), nullptr, config_.norm_epsilon};
  gradients_.turn_back({.dqkv = dqkv,
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
  for (const auto& [name, tensor] : tensors_) {
    if (tensor.trained()) visit(tensor);
  }
  for (const Predictor& predictor : predictors_) {
    for (const TrainedTensor* tensor :
         {&predictor.from_input, &predictor.from_inner, &predictor.to_hidden, &predictor.mean}) {
      if (tensor->trained()) visit(*tensor);
    }
  }
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

std::int64_t TrainedBlock::trained_parameters() const {
  std::int64_t count = 0;
  for_trained(
      [&](const TrainedTensor& tensor) { count += tensor.weight().rows * tensor.weight().cols; });
  return count;
}

template <class Download>
BlockRepair TrainedBlock::collect(Download&& download) const {
  BlockRepair repair;
  const auto predicted = [&](const Predictor& from) -> std::optional<Prediction> {
    if (!from.present) return std::nullopt;
    Prediction prediction;
    prediction.level = from.level;
    if (from.from_input.exists()) prediction.from_input = download(from.from_input);
    if (from.from_inner.exists()) prediction.from_inner = download(from.from_inner);
    if (from.to_hidden.exists()) prediction.to_hidden = download(from.to_hidden);
    if (from.mean.exists()) prediction.mean = download(from.mean);
    return prediction;
  };
  repair.attn = predicted(predictors_[0]);
  repair.mlp = predicted(predictors_[1]);
  for (const auto& [name, tensor] : tensors_) {
    if (tensor.trained()) repair.weights[name] = download(tensor);
  }
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

void TrainedBlock::restore(Predictor& to, const Prediction& prediction, Stream& stream) {
  const auto put = [&](const HostMatrix& values, TrainedTensor& tensor) {
    if (tensor.exists() && !values.empty()) tensor.upload(values, operators_, stream);
  };
  put(prediction.from_input, to.from_input);
  put(prediction.from_inner, to.from_inner);
  put(prediction.to_hidden, to.to_hidden);
  put(prediction.mean, to.mean);
}

void TrainedBlock::restore(const BlockRepair& repair, Stream& stream) {
  if (repair.attn) restore(predictors_[0], *repair.attn, stream);
  if (repair.mlp) restore(predictors_[1], *repair.mlp, stream);
  for (const auto& [name, values] : repair.weights) {
    if (has(name)) tensor(name).upload(values, operators_, stream);
  }
}

}  // namespace spd
