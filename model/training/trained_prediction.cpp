#include "model/training/trained_prediction.h"

#include <algorithm>

namespace spd {

TrainedPrediction::TrainedPrediction(const Prediction& prediction, bool trained, DType operand,
                                     std::int64_t max_tokens, Operators& operators, Stream& stream)
    : level_(prediction.level),
      factors_(operators.device(), max_tokens * std::max<std::int64_t>(1, prediction.k()) *
                                       static_cast<std::int64_t>(sizeof(float))) {
  const auto tensor = [&](const HostMatrix& values, DType type) {
    return values.empty() ? TrainedTensor()
                          : TrainedTensor(values, trained, type, operators, stream);
  };
  from_input_ = tensor(prediction.from_input, operand);
  from_inner_ = tensor(prediction.from_inner, operand);
  to_hidden_ = tensor(prediction.to_hidden, operand);
  mean_ = tensor(prediction.mean, DType::f32);
}

std::optional<ViewCorrection> TrainedPrediction::correction(SyncLevel level,
                                                            const Features& features,
                                                            Operators& operators, Stream& stream) {
  if (!mean_.exists() || level == SyncLevel::full || level_ != level) return std::nullopt;
  ViewCorrection correction{.level = level, .z = {}, .to_hidden = nullptr, .mean = mean_.data()};
  if (!to_hidden_.exists()) return correction;
  const Activations z = factors(features.normed.rows);
  if (from_input_.exists()) {
    from_input_.multiply(features.normed, nullptr, false, z, operators, stream);
  }
  if (from_inner_.exists()) {
    from_inner_.multiply(features.inner, nullptr, from_input_.exists(), z, operators, stream);
  }
  correction.z = z;
  correction.to_hidden = &to_hidden_.operand();
  return correction;
}

TrainedPrediction::Written TrainedPrediction::back(ConstActivations dcorrection,
                                                   const Features& features,
                                                   const Features& dfeatures, Gradients& gradients,
                                                   Stream& stream) {
  if (mean_.trained()) gradients.bias(dcorrection, mean_.gradient().data, stream);
  if (!to_hidden_.exists()) return {};
  const Activations z = factors(features.normed.rows);
  // The gradient takes the place of what it is the gradient of, which the weights' needs first.
  to_hidden_.multiply_back(dcorrection, z, false, z, gradients, stream);
  Written written;
  if (from_input_.exists()) {
    from_input_.multiply_back(z, features.normed, false, dfeatures.normed, gradients, stream);
    written.normed = true;
  }
  if (from_inner_.exists()) {
    from_inner_.multiply_back(z, features.inner, false, dfeatures.inner, gradients, stream);
    written.inner = true;
  }
  return written;
}

void TrainedPrediction::restore(const Prediction& prediction, Operators& operators,
                                Stream& stream) {
  const auto put = [&](const HostMatrix& values, TrainedTensor& tensor) {
    if (tensor.exists() && !values.empty()) tensor.upload(values, operators, stream);
  };
  put(prediction.from_input, from_input_);
  put(prediction.from_inner, from_inner_);
  put(prediction.to_hidden, to_hidden_);
  put(prediction.mean, mean_);
}

}  // namespace spd
