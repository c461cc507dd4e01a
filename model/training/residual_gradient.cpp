#include "model/training/residual_gradient.h"

namespace spd {

ResidualGradient::ResidualGradient(Operators& operators, std::int64_t max_tokens,
                                   std::int64_t hidden)
    : operators_(operators), hidden_(hidden) {
  for (Buffer* buffer : {&base_, &local_, &delta_, &known_, &sum_, &predicted_}) {
    *buffer = Buffer(operators.device(), max_tokens * hidden * sizeof(float));
  }
}

Activations ResidualGradient::active(const Buffer& buffer) const {
  return {buffer.as<float>(), tokens_, hidden_};
}

void ResidualGradient::begin(ConstActivations dout, Stream& stream) {
  tokens_ = dout.rows;
  local_empty_ = true;
  known_empty_ = true;
  known_is_delta_ = true;
  operators_.copy(dout, active(base_), stream);
  operators_.fill(active(delta_), 0.0f, stream);
  operators_.fill(active(predicted_), 0.0f, stream);
}

void ResidualGradient::sum_local(const RankComms& comms, Stream& stream, const CallSite& site) {
  if (local_empty_) return;
  comms.world->all_reduce(local_.as<float>(), tokens_ * hidden_, stream, site);
  operators_.add(active(local_), active(base_), stream);
  local_empty_ = true;
}

void ResidualGradient::sync(const Passed& passed, const RankComms& comms, Stream& stream,
                            const CallSite& site) {
  if (passed.forgot) operators_.fill(active(predicted_), 0.0f, stream);
  if (passed.level == SyncLevel::full) {
    // base' = base + sum of delta, and then delta' is empty.
    sum_local(comms, stream, site);
    operators_.copy(active(base_), active(delta_), stream);
    known_empty_ = true;
    known_is_delta_ = !passed.node_before;
  } else if (passed.level == SyncLevel::node) {
    // known' = sum over the node of delta; what was known before is forgotten.
    if (!known_empty_) {
      comms.node->all_reduce(known_.as<float>(), tokens_ * hidden_, stream, site);
      operators_.add(active(known_), active(delta_), stream);
    }
    known_empty_ = true;
    known_is_delta_ = !passed.node_before;
  }
}

void ResidualGradient::add_view(ConstActivations dview, Stream& stream) {
  const auto add = [&](const Buffer& to, bool empty) {
    if (empty) {
      operators_.copy(dview, active(to), stream);
    } else {
      operators_.add(dview, active(to), stream);
    }
  };
  add(local_, local_empty_);
  local_empty_ = false;
  add(predicted_, false);
  if (known_is_delta_) {
    add(delta_, false);
  } else {
    add(known_, known_empty_);
    known_empty_ = false;
  }
}

ConstActivations ResidualGradient::partial(Stream& stream) {
  if (known_empty_) return active(delta_);
  operators_.sum(active(delta_), active(known_), nullptr, active(sum_), stream);
  return active(sum_);
}

ConstActivations ResidualGradient::base(const RankComms& comms, Stream& stream) {
  sum_local(comms, stream, {"gradient"});
  return active(base_);
}

}  // namespace spd
