#include "model/residual_stream.h"

namespace spd {

ResidualStream::ResidualStream(Operators& operators, std::int64_t max_tokens, std::int64_t hidden)
    : operators_(operators), hidden_(hidden) {
  // Large buffers cost memory only once they are touched: plans without node syncs leave two alone.
  for (Buffer* buffer : {&base_, &delta_, &known_, &partial_, &view_}) {
    *buffer = Buffer(operators.device(), max_tokens * hidden * sizeof(float));
  }
}

Activations ResidualStream::active(const Buffer& buffer) const {
  return {buffer.as<float>(), tokens_, hidden_};
}

Activations ResidualStream::begin(std::int64_t tokens) {
  tokens_ = tokens;
  delta_empty_ = true;
  known_is_delta_ = true;
  return active(base_);
}

void ResidualStream::add_shared_bias(const float* bias, Stream& stream) {
  if (bias) operators_.add_bias(bias, active(base_), stream);
}

ResidualStream::Target ResidualStream::begin_partial() {
  if (known_is_delta_) return {active(delta_), !delta_empty_};
  return {active(partial_), false};
}

void ResidualStream::end_partial(Stream& stream) {
  if (!known_is_delta_) {
    operators_.add(active(partial_), active(delta_), stream);
    operators_.add(active(partial_), active(known_), stream);
  }
  delta_empty_ = false;
}

void ResidualStream::sync(SyncLevel level, const RankComms& comms, Stream& stream,
                          const CallSite& site) {
  if (level == SyncLevel::drop || delta_empty_) return;
  const std::size_t count = static_cast<std::size_t>(tokens_ * hidden_);
  if (level == SyncLevel::full) {
    comms.world->all_reduce(delta_.as<float>(), count, stream, site);
    operators_.add(active(delta_), active(base_), stream);
    delta_empty_ = true;
    known_is_delta_ = true;
  } else {
    operators_.copy(active(delta_), active(known_), stream);
    comms.node->all_reduce(known_.as<float>(), count, stream, site);
    known_is_delta_ = false;
  }
}

ConstActivations ResidualStream::view(Stream& stream) {
  if (delta_empty_) return active(base_);
  operators_.sum(active(base_), active(known_is_delta_ ? delta_ : known_), active(view_), stream);
  return active(view_);
}

}  // namespace spd
