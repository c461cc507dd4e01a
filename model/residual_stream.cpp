#include "model/residual_stream.h"

#include <fmt/format.h>

#include "kernels/device/error.h"

namespace spd {
namespace {

LinearArgs product_of(const ViewCorrection& correction, Activations y) {
  return {.x = correction.z,
          .norm = nullptr,
          .weight = correction.to_hidden,
          .bias = correction.mean,
          .epilogue = Epilogue::none,
          .accumulate = false,
          .y = y};
}

}  // namespace

ResidualStream::ResidualStream(Operators& operators, std::int64_t max_tokens, std::int64_t hidden)
    : operators_(operators), hidden_(hidden) {
  // Large buffers cost memory only once they are touched: plans without node syncs leave some
  // alone.
  for (Buffer* buffer : {&base_, &delta_, &known_, &partial_, &view_, &predicted_}) {
    *buffer = Buffer(operators.device(), max_tokens * hidden * sizeof(float));
  }
}

Activations ResidualStream::active(const Buffer& buffer) const {
  return {buffer.as<float>(), tokens_, hidden_};
}

Activations ResidualStream::begin(std::int64_t tokens) {
  tokens_ = tokens;
  bias_ = nullptr;
  delta_empty_ = true;
  known_is_delta_ = true;
  forget_predictions();
  return active(base_);
}

void ResidualStream::add_shared_bias(const float* bias, Stream& stream) {
  settle_bias(stream);
  bias_ = bias;
}

void ResidualStream::settle_bias(Stream& stream) {
  if (bias_) operators_.add_bias(bias_, active(base_), stream);
  bias_ = nullptr;
}

ResidualStream::Target ResidualStream::begin_partial() {
  separate_ = !known_is_delta_;
  if (separate_) return {active(partial_), false};
  return {active(delta_), !delta_empty_};
}

ResidualStream::Target ResidualStream::begin_separate_partial() {
  separate_ = true;
  return {active(partial_), false};
}

void ResidualStream::end_partial(Stream& stream) {
  if (separate_) {
    if (delta_empty_) {
      operators_.copy(active(partial_), active(delta_), stream);
    } else {
      operators_.add(active(partial_), active(delta_), stream);
    }
    if (!known_is_delta_) operators_.add(active(partial_), active(known_), stream);
  }
  delta_empty_ = false;
}

void ResidualStream::sync(SyncLevel level, WireFormat wire, const RankComms& comms, Stream& stream,
                          const CallSite& site) {
  if (level == SyncLevel::drop || delta_empty_) return;
  const std::size_t count = static_cast<std::size_t>(tokens_ * hidden_);
  if (level == SyncLevel::full) {
    comms.world->all_reduce(delta_.as<float>(), count, stream, site, wire);
    operators_.sum(active(base_), active(delta_), bias_, active(base_), stream);
    bias_ = nullptr;
    delta_empty_ = true;
    known_is_delta_ = true;
    forget_predictions();
  } else {
    if (predicted_drop_) forget_predictions();
    operators_.copy(active(delta_), active(known_), stream);
    comms.node->all_reduce(known_.as<float>(), count, stream, site, wire);
    known_is_delta_ = false;
  }
}

ConstActivations ResidualStream::view(Stream& stream) {
  settle_bias(stream);
  if (delta_empty_) return active(base_);
  const Activations base = active(base_), known = active(known_is_delta_ ? delta_ : known_);
  if (pending_ && pending_->to_hidden) {
    LinearArgs args = product_of(*pending_, active(view_));
    args.plus = {base, known};
    operators_.linear(args, stream);
  } else {
    operators_.sum(base, known, pending_ ? pending_->mean : nullptr, active(view_), stream);
  }
  if (!predicted_empty_) operators_.add(active(predicted_), active(view_), stream);
  return active(view_);
}

void ResidualStream::forget_predictions() {
  pending_.reset();
  predicted_empty_ = true;
  predicted_drop_ = false;
}

void ResidualStream::correct_view(const ViewCorrection& correction, Stream& stream) {
  settle_prediction(stream);
  pending_ = correction;
  if (correction.level == SyncLevel::drop) predicted_drop_ = true;
}

void ResidualStream::settle_prediction(Stream& stream) {
  if (!pending_) return;
  if (pending_->to_hidden) {
    LinearArgs args = product_of(*pending_, active(predicted_));
    args.accumulate = !predicted_empty_;
    operators_.linear(args, stream);
  } else {
    if (predicted_empty_) operators_.fill(active(predicted_), 0.0f, stream);
    operators_.add_bias(pending_->mean, active(predicted_), stream);
  }
  pending_.reset();
  predicted_empty_ = false;
}

ResidualState ResidualStream::save(Stream& stream) {
  settle_prediction(stream);
  settle_bias(stream);
  const auto download = [&](const Buffer& buffer) {
    std::vector<float> values(tokens_ * hidden_);
    operators_.device().download(values.data(), buffer.data(), values.size() * sizeof(float),
                                 stream);
    return values;
  };
  ResidualState state;
  state.tokens = tokens_;
  state.base = download(base_);
  if (!delta_empty_) state.delta = download(delta_);
  if (!known_is_delta_) state.known = download(known_);
  if (!predicted_empty_) state.predicted = download(predicted_);
  state.predicted_drop = predicted_drop_;
  stream.synchronize();
  return state;
}

void ResidualStream::restore(const ResidualState& state, Stream& stream) {
  begin(state.tokens);
  const auto upload = [&](const std::vector<float>& values, const Buffer& buffer) {
    const auto count = static_cast<std::size_t>(tokens_ * hidden_);
    if (values.size() != count || count * sizeof(float) > buffer.bytes()) {
      throw Error(ErrorCode::internal, fmt::format("a residual state of {} values for {} tokens",
                                                   values.size(), tokens_));
    }
    operators_.device().upload(buffer.data(), values.data(), count * sizeof(float), stream);
  };
  upload(state.base, base_);
  delta_empty_ = state.delta.empty();
  known_is_delta_ = state.known.empty();
  if (!delta_empty_) upload(state.delta, delta_);
  if (!known_is_delta_) upload(state.known, known_);
  predicted_empty_ = state.predicted.empty();
  predicted_drop_ = state.predicted_drop;
  if (!predicted_empty_) upload(state.predicted, predicted_);
  stream.synchronize();
}

}  // namespace spd
