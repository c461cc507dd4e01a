// A prediction under training: what stands in for the sum that a sync leaves out (model/repair.h).
#pragma once

#include <optional>

#include "kernels/gradients.h"
#include "model/repair.h"
#include "model/residual_stream.h"
#include "model/training/trained_tensor.h"

namespace spd {

/// One rank's, behind one sync point. Made of nothing, it predicts nothing.
class TrainedPrediction {
 public:
  TrainedPrediction() = default;
  /// For steps of at most `max_tokens`. Products read its matrices as `operand`.
  TrainedPrediction(const Prediction& prediction, bool trained, DType operand,
                    std::int64_t max_tokens, Operators& operators, Stream& stream);

  /// What its sub-layer made in the last step, and the gradients of that: [tokens, hidden], normed,
  /// and [tokens, inner], the heads' outputs or the neurons.
  struct Features {
    Activations normed, inner;
  };

  /// What a sync of `level` will leave out, if this predicts it.
  std::optional<ViewCorrection> correction(SyncLevel level, const Features& features,
                                           Operators& operators, Stream& stream);

  struct Written {
    bool normed = false, inner = false;
  };
  /// Back through correction(), from the gradient of the predicted sum, [tokens, hidden], to those
  /// of the features. Says which of them it has written: those that it reads.
  Written back(ConstActivations dcorrection, const Features& features, const Features& dfeatures,
               Gradients& gradients, Stream& stream);

  /// visit(tensor) for all that is trained.
  template <class Visit>
  void for_trained(Visit&& visit) const {
    for (const TrainedTensor* tensor : {&from_input_, &from_inner_, &to_hidden_, &mean_}) {
      if (tensor->trained()) visit(*tensor);
    }
  }
  /// What `download(tensor)` makes of it; nothing where there is nothing.
  template <class Download>
  std::optional<Prediction> collect(Download&& download) const {
    if (!mean_.exists()) return std::nullopt;
    Prediction prediction;
    prediction.level = level_;
    if (from_input_.exists()) prediction.from_input = download(from_input_);
    if (from_inner_.exists()) prediction.from_inner = download(from_inner_);
    if (to_hidden_.exists()) prediction.to_hidden = download(to_hidden_);
    prediction.mean = download(mean_);
    return prediction;
  }
  /// Takes values from a prediction of the same shapes; what it lacks stays.
  void restore(const Prediction& prediction, Operators& operators, Stream& stream);

 private:
  Activations factors(std::int64_t tokens) const {
    return {factors_.as<float>(), tokens, to_hidden_.weight().cols};
  }

  SyncLevel level_ = SyncLevel::drop;
  TrainedTensor from_input_, from_inner_, to_hidden_, mean_;
  Buffer factors_;  // [tokens, k]: what to_hidden is applied to; its gradient on the way back
};

}  // namespace spd
